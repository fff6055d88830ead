"""Lists that do not say the same thing ten times: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from api.matching import stored
from kg.errors import BadInput
from kg.stores import Stores
from kg.vectors.generations import Generation

__all__ = ["directions", "diversified"]


def diversified(scores: Sequence[float], vectors: NDArray[np.floating], k: int, diversity: float) -> list[int]:
    """Places of the k entries to show, in order: each is the best by (1 − d) · score − d · its largest cosine to those
    already shown. Scores count as shares of the largest, cosines below 0 as 0; equal ones go by place.

    Args:
        scores: of the entries, best first.
        vectors: (N, D) unit rows, or rows of zeros where one is not known.
        k: entries wanted.
        diversity: d, 0 (the order stays) to 1.

    Raises:
        BadInput: `diversity` out of range, or scores and vectors of unequal length.
    """
    if not 0 <= diversity <= 1:
        raise BadInput(f"diversity = {diversity:g}: it is 0 to 1", field="diversity")
    if len(scores) != len(vectors):
        raise BadInput(f"{len(scores)} scores and {len(vectors)} vectors: one vector for each score")
    if diversity == 0 or len(scores) < 2:
        return list(range(len(scores)))[:k]
    shares = np.asarray(scores, np.float64) / max(max(scores), 1e-12)
    nearest, left, chosen = np.zeros(len(scores)), np.ones(len(scores), bool), []
    for _ in range(min(k, len(scores))):
        gains = np.where(left, (1 - diversity) * shares - diversity * nearest, -np.inf)
        at = int(gains.argmax())
        chosen.append(at)
        left[at] = False
        nearest = np.maximum(nearest, vectors @ vectors[at])
    return chosen


def directions(stores: Stores, generation: Generation, ids: Sequence[str]) -> NDArray[np.float32]:
    """(N, D) unit rows, the mean of each product's vectors of the first kind that it has; zeros where it has none."""
    rows, places = np.zeros((len(ids), generation.dim), np.float32), {id: at for at, id in enumerate(ids)}
    for kind in generation.kinds:
        missing = [id for id, at in places.items() if not rows[at].any()]
        for id, vectors in stored(stores, generation, kind, missing).items() if missing else ():
            mean = vectors.mean(axis=0)
            rows[places[id]] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return rows
