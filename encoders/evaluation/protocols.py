"""The protocols of the papers, on scores and relevance: which encoder made the scores does not matter here.

R@k of cross-modal retrieval is the share of queries with a relevant item among the first k (trec_eval's success_k).
All figures are per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.evaluation.metrics import (
    average_precision,
    first_ranks,
    hit,
    rank,
    reciprocal_rank,
)

__all__ = ["cross_modal", "draw_ranks", "levels_of", "over_seeds", "rank_figures", "same_product", "sampled"]

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
        figures |= rank_figures(way, first_ranks(table, wanted))
    return figures


def rank_figures(way: str, ranks: NDArray[np.int64]) -> dict[str, float]:
    """R@1, 5, 10 and MRR of one way, from the rank of each query's first right answer."""
    figures = {f"{way}/R@{k}": 100 * float(hit(ranks, k).mean()) for k in (1, 5, 10)}
    return figures | {f"{way}/MRR": 100 * float(reciprocal_rank(ranks).mean())}


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
    levels = levels_of(groups)
    for way, table, wanted in (("i2t", scores, relevant), ("t2i", scores.T, relevant.T)):
        found = draw_ranks(
            lambda query, items, table=table: table[query, items],  # type: ignore[misc]
            lambda query, wanted=wanted: wanted[query],  # type: ignore[misc]
            levels,
            np.random.default_rng([seed, way == "t2i"]),
            queries=queries,
            negatives=negatives,
        )
        figures |= {f"sample100/{way}/R@{k}": 100 * float(hit(found, k).mean()) for k in (1, 5, 10)}
    return figures


def levels_of(groups: Sequence[tuple[str, ...]]) -> NDArray[np.int64]:
    """(L, N) number of each item's group, finest level first, and a last level that all items share."""
    levels = [np.unique(np.array(names), return_inverse=True)[1] for names in zip(*groups, strict=True)]
    return np.stack([*levels, np.zeros(len(groups), np.int64)])


def draw_ranks(
    score: Callable[[int, NDArray[np.int64]], Scores],
    wanted: Callable[[int], Relevance],
    levels: NDArray[np.int64],
    draw: np.random.Generator,
    *,
    queries: int,
    negatives: int,
) -> NDArray[np.int64]:
    """Rank of one right answer among drawn wrong ones, for each of the queries drawn.

    Args:
        score: a query's number and items' numbers → the scores of these items.
        wanted: a query's number → (N,) which items are right.
        levels: see `levels_of`: wrong items share the first level, and are topped up from the next.
        draw: of queries, right answers and wrong ones.
        queries: see `sampled`.
        negatives: see `sampled`.
    """
    size = levels.shape[1]
    ranks = []
    for query in draw.permutation(size)[:queries]:
        right = wanted(query)
        positive = draw.choice(np.flatnonzero(right))
        taken = np.zeros(size, bool)
        for level in levels:
            pool = np.flatnonzero((level == level[query]) & ~right & ~taken)
            room = negatives - int(taken.sum())
            taken[draw.permutation(pool)[:room]] = True
        scores = score(query, np.append(np.flatnonzero(taken), positive))
        ranks.append(1 + int((scores[:-1] >= scores[-1]).sum()))
    return np.array(ranks)


def over_seeds(draws: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each figure over the draws, and beside it, as `NAME/spread`, the standard deviation (of a sample; 0 of
    one draw)."""
    figures: dict[str, float] = {}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        figures |= {
            name: float(np.mean(values)),
            f"{name}/spread": float(np.std(values, ddof=1)) if values[1:] else 0.0,
        }
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
