"""How well vectors tell edges that were hidden from pairs that are none: AUC and mean reciprocal rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "found_alone", "hold_out", "judge", "random_vectors", "smoothed"]

LEAST = 20  # pairs: of fewer, hiding a tenth says nothing
AGAINST = 100  # random entities that each hidden neighbour is ranked among
ASKED = 20_000  # most questions of one judgement, and most texts that look for their entities
TEXTS = 1000


def hold_out(
    count: int, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Places of `count` pairs in three parts: to learn from, to choose the epoch by, to report on.

    The last two have half of `share` each; with fewer than `LEAST` pairs they are empty.
    """
    order = rng.permutation(count)
    each = int(count * share / 2) if count >= LEAST else 0
    return np.sort(order[2 * each :]), np.sort(order[:each]), np.sort(order[each : 2 * each])


def judge(
    vectors: NDArray[np.float32], hidden: NDArray[np.int64], known: NDArray[np.int64], *, seed: int = 0
) -> dict[str, float]:
    """AUC and MRR of hidden pairs, asked from both ends against the same random entities that are no neighbours.

    Args:
        vectors: (N, D), unit rows.
        hidden: (2, H) pairs, H may be 0: then nothing is said.
        known: (2, M) all pairs of the graph, the smaller place first; the hidden ones may be among them.
        seed: of the draw.

    Returns:
        auc: how often a hidden neighbour is nearer than a random one; equally near counts half.
        mrr: mean of 1 / rank among the random ones; equally near ones count half each.
    """
    if not hidden.shape[1] or len(vectors) < 3:
        return {}
    rng = np.random.default_rng(seed)
    questions = np.concatenate([hidden, hidden[::-1]], axis=1)
    if questions.shape[1] > ASKED:
        questions = questions[:, rng.choice(questions.shape[1], ASKED, replace=False)]
    asking, wanted = questions
    drawn = rng.integers(0, len(vectors), (len(asking), AGAINST))
    low, high = np.minimum(asking[:, None], drawn), np.maximum(asking[:, None], drawn)
    codes = known[0] * len(vectors) + known[1]
    wrong = ~np.isin(low * len(vectors) + high, codes) & (low != high)
    right = np.einsum("qd,qd->q", vectors[asking], vectors[wanted])
    scores = np.concatenate(
        [
            np.einsum("qd,qnd->qn", vectors[asking[at : at + 500]], vectors[drawn[at : at + 500]])
            for at in range(0, len(asking), 500)
        ]
    )
    above = ((scores > right[:, None]) + 0.5 * (scores == right[:, None])) * wrong
    answered = wrong.any(axis=1)
    if not answered.any():  # everything is connected with everything
        return {}
    share = above[answered].sum(axis=1) / wrong[answered].sum(axis=1)
    ranks = 1 + above[answered].sum(axis=1)
    return {"auc": float(1 - share.mean()), "mrr": float((1 / ranks).mean())}


def found_alone(alone: NDArray[np.float32], vectors: NDArray[np.float32], places: NDArray[np.int64]) -> float:
    """MRR of the entity itself among all, asked by what its text gives without the graph.

    Args:
        alone: (Q, D) of the entities at `places`.
        vectors: (N, D) of all.
        places: (Q,).
    """
    if not len(places):
        return 0.0
    ranks = []
    for start in range(0, len(places), 500):
        scores = alone[start : start + 500] @ vectors.T
        own = scores[np.arange(len(scores)), places[start : start + 500]]
        ranks.append(1 + (scores > own[:, None] + 1e-6).sum(axis=1))
    return float((1 / np.concatenate(ranks)).mean())


def random_vectors(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """What knows nothing: unit rows of random directions."""
    return _unit(np.random.default_rng(seed).standard_normal((count, dim)))


def smoothed(
    features: NDArray[np.float32], pairs: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What learns nothing: each entity's features plus the weighted mean of its neighbours'."""
    total = np.zeros(len(features), np.float32)
    near = np.zeros_like(features)
    for a, b in (pairs, pairs[::-1]):
        np.add.at(total, a, weights)
        for start in range(0, len(a), 100_000):
            part = slice(start, start + 100_000)
            np.add.at(near, a[part], weights[part, None] * features[b[part]])
    return _unit(features + near / np.maximum(total, 1e-9)[:, None])


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
