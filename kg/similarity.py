"""Nearest neighbours of vectors, exact and in blocks, kept up to date as vectors come and go; and those that agree.

Scores are cosines, computed in float64 and rounded to `GRAIN`, equal ones go to the smaller index: so the same vectors
give the same neighbours, whether they are all compared anew or only those that changed. Nothing of size N x N is held.
`encoders.neighbours` has the same for more vectors than can all be compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kg.errors import BadVector

__all__ = [
    "GONE",
    "NONE",
    "Neighbours",
    "exact_scores",
    "mutual",
    "mutual_neighbours",
    "nearest",
    "nearest_of",
    "updated",
    "zero_rows",
]

# Indices and cosines, both (N, k), best first; where a row has fewer than k neighbours NONE and -inf fill it up.
Neighbours = tuple[NDArray[np.int64], NDArray[np.float32]]

NONE, GONE = -1, -2  # in the place of an index: no neighbour; one that is no more, or that has changed
BLOCK = 1024  # rows compared with all others at a time,
CELLS = 1 << 24  # or fewer, so that no more than so many comparisons are in memory
RESCORED = 256  # rows whose candidates are compared in float64 at a time
SLACK = 16  # candidates beyond k that float32 finds, of which float64 chooses
GRAIN = 1e-6
FAR = np.iinfo(np.int64).max


def nearest(vectors: NDArray[np.float32], k: int) -> Neighbours:
    """The `k` nearest others of each row. A row of zeros has no neighbours and is nobody's.

    Args:
        vectors: (N, D), rows L2-normalised or zero.
        k: neighbours of each.

    Raises:
        BadVector: a value is not finite.
    """
    return nearest_of(np.arange(len(vectors)), vectors, k)


def nearest_of(rows: NDArray[np.int64], vectors: NDArray[np.float32], k: int) -> Neighbours:
    """What `nearest` gives for some rows alone, (R,) indices.

    Raises:
        BadVector: a value is not finite.
    """
    return _of_rows(rows, vectors, k, zero_rows(vectors))


def updated(vectors: NDArray[np.float32], k: int, before: Neighbours, fresh: NDArray[np.bool_]) -> Neighbours:
    """What `nearest` gives, from what it gave before some vectors came, went or changed.

    Rows that are new or have lost a neighbour are compared with all, the others with the new ones alone.

    Args:
        vectors: (N, D), as they are now.
        k: as before.
        before: the neighbours before, rows and indices in today's numbering (of the same order among those that
            stayed); GONE stands for what is no more or has changed. Rows that are fresh may hold anything.
        fresh: (N,), which rows are new or have changed.

    Raises:
        BadVector: a value is not finite.
    """
    zeros = zero_rows(vectors)
    indices, scores = before[0].copy(), before[1].copy()
    redo = fresh | (indices == GONE).any(axis=1)
    rows = np.flatnonzero(redo)
    indices[rows], scores[rows] = _of_rows(rows, vectors, k, zeros)
    come, stayed = np.flatnonzero(fresh & ~zeros), np.flatnonzero(~redo & ~zeros)
    if k and len(come):
        for start, block in _blocks(stayed, len(come)):
            found = vectors[block] @ vectors[come].T
            row, column = np.nonzero(found > scores[block, -1:] - 2 * GRAIN)
            _merge(vectors, k, indices, scores, stayed[start + row], come[column])
    return indices, scores


def mutual(near: Neighbours, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Pairs (i, j, score), i < j, each of which is among the neighbours of the other; by i, then j.

    Args:
        near: neighbours of each.
        threshold: smallest score of a pair.
    """
    indices, scores = near
    count, k = indices.shape
    keep = (indices >= 0) & (scores >= threshold)
    rows = np.repeat(np.arange(count), k).reshape(count, k)[keep]
    others, weights = indices[keep], scores[keep]
    up = rows < others
    ahead, back = rows[up] * count + others[up], others[~up] * count + rows[~up]
    pairs, one, other = np.intersect1d(ahead, back, assume_unique=True, return_indices=True)
    return pairs // max(count, 1), pairs % max(count, 1), np.minimum(weights[up][one], weights[~up][other])


def mutual_neighbours(vectors: NDArray[np.float32], *, k: int, threshold: float) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, cosine) with i < j where j is among the `k` nearest of i, i among those of j, and the cosine is at
    least `threshold`; by i, then j.

    Args:
        vectors: (N, D), L2-normalised rows.
        k: neighbours looked at on each side; equal cosines go to the smaller index.
        threshold: smallest cosine.
    """
    for i, j, score in zip(*mutual(nearest(vectors, k), threshold), strict=True):
        yield int(i), int(j), float(score)


def exact_scores(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], others: NDArray[np.int64], k: int
) -> Neighbours:
    """The `k` best of some candidates of each row, by the cosine that counts.

    Args:
        vectors: (N, D).
        rows: (R,) whose candidates they are.
        others: (R, C) indices, each once in a row; negative ones do not count.
        k: how many are kept.
    """
    indices = np.full((len(rows), k), NONE, np.int64)
    scores = np.full((len(rows), k), -np.inf, np.float32)
    for start in range(0, len(rows), RESCORED):
        some = others[start : start + RESCORED]
        mine = vectors[rows[start : start + RESCORED]].astype(np.float64)
        cosines = np.einsum("nd,ncd->nc", mine, vectors[some].astype(np.float64))
        order = np.sort(_coded(cosines, some, some < 0), axis=1)[:, :k]
        here = slice(start, start + len(some)), slice(0, order.shape[1])
        indices[here], scores[here] = _decoded(order)
    return indices, scores


def _of_rows(rows: NDArray[np.int64], vectors: NDArray[np.float32], k: int, zeros: NDArray[np.bool_]) -> Neighbours:
    count = len(vectors)
    indices, scores = np.full((len(rows), k), NONE, np.int64), np.full((len(rows), k), -np.inf, np.float32)
    if not k or count < 2:
        return indices, scores
    for start, block in _blocks(rows, count):
        cosines = vectors[block] @ vectors.T
        cosines[:, zeros] = -np.inf
        cosines[np.arange(len(block)), block] = -np.inf  # nobody is its own neighbour
        cosines[zeros[block]] = -np.inf
        last = np.partition(cosines, -min(k, count), axis=1)[:, -min(k, count)]
        row, other = np.nonzero((cosines >= last[:, None] - 2 * GRAIN) & np.isfinite(cosines))
        found = exact_scores(vectors, block, _candidates(cosines[row, other], row, other, (len(block), k + SLACK)), k)
        indices[start : start + len(block)], scores[start : start + len(block)] = found
    return indices, scores


def _candidates(
    cosines: NDArray[np.float32], rows: NDArray[np.int64], others: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """The best others of each row, as (rows, most); of pairs whose rows come sorted."""
    order = np.lexsort((_coded(cosines, others, np.zeros(len(others), np.bool_)), rows))
    rows, others = rows[order], others[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    out, kept = np.full(shape, NONE, np.int64), place < shape[1]
    out[rows[kept], place[kept]] = others[kept]
    return out


def _merge(
    vectors: NDArray[np.float32],
    k: int,
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
) -> None:
    """Give the pairs (row, other) their place among the neighbours of the rows; the rows come sorted."""
    ends = np.flatnonzero(np.diff(rows, append=-1)) + 1
    for start, end in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True) if len(rows) else ():
        row = rows[start : start + 1]
        candidates = np.concatenate([indices[row[0]], others[start:end]])[None]
        indices[row], scores[row] = exact_scores(vectors, row, candidates, k)


def _coded(cosines: NDArray[np.floating], indices: NDArray[np.int64], without: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers that sort by falling cosine, then by index."""
    coded = np.rint((1.0 - cosines) / GRAIN).clip(0).astype(np.int64)  # rounding may lead above a cosine of 1
    return np.where(without, FAR, (coded << 32) | indices)


def _decoded(coded: NDArray[np.int64]) -> Neighbours:
    indices = np.where(coded == FAR, NONE, coded & 0xFFFFFFFF)
    return indices, np.where(coded == FAR, -np.inf, 1.0 - (coded >> 32) * GRAIN).astype(np.float32)


def _blocks(rows: NDArray[np.int64], columns: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    size = max(1, min(BLOCK, CELLS // max(columns, 1)))
    return ((start, rows[start : start + size]) for start in range(0, len(rows), size))


def zero_rows(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows (N,) are zero.

    Raises:
        BadVector: a value is not finite.
    """
    zeros = np.empty(len(vectors), np.bool_)
    for start in range(0, len(vectors), BLOCK):
        norms = np.abs(vectors[start : start + BLOCK]).max(axis=1, initial=0)
        if not np.isfinite(norms).all():
            row = start + int(np.flatnonzero(~np.isfinite(norms))[0])
            raise BadVector(f"vector {row} has values that are not finite: it cannot be compared")
        zeros[start : start + BLOCK] = norms == 0
    return zeros
