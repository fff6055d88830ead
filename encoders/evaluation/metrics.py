"""Retrieval metrics. All take ranked relevance, so one ranking serves them all.

Checked in the tests against plain loops and against an outside tool (pytrec_eval, ir-measures).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision", "first_ranks", "hit", "ndcg", "rank", "recall", "reciprocal_rank"]

Scores = NDArray[np.floating]
Relevance = NDArray[np.bool_]
Ranks = NDArray[np.int64] | NDArray[np.float64]  # from 1; infinite where nothing relevant was found


def rank(scores: Scores, k: int) -> NDArray[np.int64]:
    """(Q, G) scores to (Q, min(k, G)) columns, best first; equal scores in the order of the columns."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def first_ranks(scores: Scores, relevant: Relevance) -> NDArray[np.int64]:
    """(Q,) rank of the best relevant column, from 1. An irrelevant one of the same score counts as before it: an
    encoder that gives everything the same vector finds nothing.

    Raises:
        ValueError: the shapes differ, a score is not finite, or a query has nothing relevant.
    """
    if not np.isfinite(scores).all():  # NaN loses every comparison: it would come first
        raise ValueError("scores must be finite")
    if scores.shape != relevant.shape or not relevant.any(axis=1).all():
        raise ValueError(
            f"scores {scores.shape}, relevant {relevant.shape}: equal shapes, a relevant column in each row"
        )
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((scores >= best) & ~relevant).sum(axis=1)


def hit(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """R@k of cross-modal retrieval: 1 where the first relevant item is among the first k."""
    return (ranks <= k).astype(np.float64)


def reciprocal_rank(ranks: Ranks) -> NDArray[np.float64]:
    """1 / rank of the first relevant item; its mean is MRR."""
    return 1.0 / ranks


def recall(found: Relevance, total: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(Q, K) relevance of the ranked list, (Q,) relevant items there are: share of these among the first k."""
    return found[:, :k].sum(axis=1) / np.maximum(total, 1)


def average_precision(found: Relevance, total: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """AP@k = Σ over relevant ranks i ≤ k of precision at i, over the relevant items there are (trec_eval's map_cut)."""
    found = found[:, :k]
    precision = np.cumsum(found, axis=1) / np.arange(1, found.shape[1] + 1)
    return (precision * found).sum(axis=1) / np.maximum(total, 1)


def ndcg(found: Relevance, total: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Binary nDCG@k with the discount 1 / log2(rank + 1)."""
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(total, k)]
    found = found[:, :k]
    return np.divide(found @ discount[: found.shape[1]], ideal, out=np.zeros(len(found)), where=ideal > 0)
