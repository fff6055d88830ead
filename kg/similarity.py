"""Nearest neighbours that agree: pairs of vectors each of which is among the nearest of the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["mutual_neighbours"]

BLOCK = 1024  # rows compared with all others at a time: BLOCK x N floats in memory


def mutual_neighbours(vectors: NDArray[np.float32], *, k: int, threshold: float) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, cosine) with i < j where j is among the `k` nearest of i, i among those of j, and the cosine is at
    least `threshold`; by i, then j.

    Args:
        vectors: (N, D), L2-normalised rows.
        k: neighbours looked at on each side; equal cosines go to the smaller index.
        threshold: smallest cosine.
    """
    near = _nearest(vectors, k)
    for i, (others, scores) in enumerate(zip(*near, strict=True)):
        order = np.argsort(others)
        for j, score in zip(others[order], scores[order], strict=True):
            if i < j and score >= threshold and i in near[0][j]:
                yield i, int(j), min(float(score), 1.0)  # rounding may lead above 1


def _nearest(vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices and cosines (N, min(k, N - 1)) of each row's nearest others."""
    count = len(vectors)
    k = max(min(k, count - 1), 0)
    indices, scores = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
    for start in range(0, count, BLOCK):
        block = vectors[start : start + BLOCK] @ vectors.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf  # nobody is its own neighbour
        order = np.argsort(-block, axis=1, kind="stable")[:, :k]
        indices[start : start + BLOCK] = order
        scores[start : start + BLOCK] = np.take_along_axis(block, order, axis=1)
    return indices, scores
