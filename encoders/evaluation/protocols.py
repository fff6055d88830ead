"""The protocols of the papers, on scores and relevance: which encoder made the scores does not matter here.

R@k of cross-modal retrieval is the share of queries with a relevant item among the first k (trec_eval's success_k).
All figures are per cent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.evaluation.metrics import (
    average_precision,
    first_ranks,
    hit,
    rank,
    reciprocal_rank,
)

__all__ = ["cross_modal", "same_product", "sampled"]

Scores = NDArray[np.floating]
Relevance = NDArray[np.bool_]


def cross_modal(scores: Scores, relevant: Relevance) -> dict[str, float]:
    """Protocol 1 in full: every picture against all texts (i2t), every text against all pictures (t2i).

    Args:
        scores: (N, N), pictures by texts.
        relevant: (N, N), symmetric.
    """
    figures: dict[str, float] = {}
    for way, table, wanted in (("i2t", scores, relevant), ("t2i", scores.T, relevant.T)):
        ranks = first_ranks(table, wanted)
        figures |= {f"{way}/R@{k}": 100 * float(hit(ranks, k).mean()) for k in (1, 5, 10)}
        figures[f"{way}/MRR"] = 100 * float(reciprocal_rank(ranks).mean())
    return figures


def sampled(
    scores: Scores,
    relevant: Relevance,
    groups: Sequence[tuple[str, ...]],
    *,
    seed: int,
    queries: int = 1000,
    negatives: int = 100,
) -> dict[str, float]:
    """Protocol 1, sample-100: each query against one positive and 100 negatives as like it as there are.

    Args:
        scores: (N, N), pictures by texts.
        relevant: (N, N), symmetric.
        groups: of each item, finest first: negatives share the first level; where these are too few, they are topped
            up from the next, at last from all.
        seed: of queries, positives and negatives; drawn anew for each way.
        queries: drawn without repeat, at most N.
        negatives: of each query, at most all there are.
    """
    figures: dict[str, float] = {}
    for way, table, wanted in (("i2t", scores, relevant), ("t2i", scores.T, relevant.T)):
        draw = np.random.default_rng([seed, way == "t2i"])
        levels = np.array([*zip(*groups, strict=True), ("",) * len(groups)])
        ranks = []
        for query in draw.permutation(len(table))[:queries]:
            positive = draw.choice(np.flatnonzero(wanted[query]))
            taken = np.zeros(len(table), bool)
            for level in levels:
                pool = np.flatnonzero((level == level[query]) & ~wanted[query] & ~taken)
                room = negatives - int(taken.sum())
                taken[draw.permutation(pool)[:room]] = True
            ranks.append(1 + int((table[query, taken] >= table[query, positive]).sum()))
        found = np.array(ranks)
        figures |= {f"sample100/{way}/R@{k}": 100 * float(hit(found, k).mean()) for k in (1, 5, 10)}
    return figures


def same_product(scores: Scores, relevant: Relevance) -> dict[str, float]:
    """Protocol 3: (Q, G) photos against a gallery. `mAP@10` divides by all that is relevant (trec_eval's map_cut);
    `nmAP@10` by what ten places can hold (Product1M's normalised form), so that it can reach 100."""
    ranks, total = first_ranks(scores, relevant), relevant.sum(axis=1)
    found = np.take_along_axis(relevant, rank(scores, 10), axis=1)
    return {
        "R@1": 100 * float(hit(ranks, 1).mean()),
        "mAP@10": 100 * float(average_precision(found, total, 10).mean()),
        "nmAP@10": 100 * float(average_precision(found, np.minimum(total, 10), 10).mean()),
        "MRR": 100 * float(reciprocal_rank(ranks).mean()),
    }
