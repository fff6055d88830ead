"""Nearest neighbours of any number of vectors: all compared up to `EXACT`, beyond it only those in cells close by.

The cells are of fixed size, and all vectors of one are compared with those of the cells beside it in one product of
matrices: so the work grows with N, but for finding each vector's cell (two steps, over √cells groups of cells) and the
cells beside each (the same problem again, with a hundredth of the vectors). The scores of what is found are as exact as
in `kg.similarity`; some neighbours are missed (`python -m benchmarks.entity_graph` says how many).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from kg.similarity import NONE, Neighbours, exact_scores, zero_rows
from kg.similarity import nearest as exact_nearest

__all__ = ["EXACT", "approximate", "nearest"]

EXACT = 20_000
CELL = 100  # vectors of one cell, on average
PROBED = 32  # cells looked into
MOST = 2 * PROBED * CELL  # vectors that one is compared with: cells of equal vectors may be of any size,
SHARE = 8 * CELL  # and of another cell no more than so many: one of many equal vectors would leave the rest no room
ROUNDS = 3  # in which the centres move to the mean of their vectors,
SAMPLE = 16  # each of which is seen by so many
FLAT = 256  # centres that are all compared
GROUPS = 4  # groups of centres looked into, where there are more
BLOCK = 16_384  # rows in memory
PIECE = 512  # rows of a cell that are compared at a time
SPARE = 2  # candidates beyond k that float32 finds, of which float64 chooses


def nearest(
    vectors: NDArray[np.float32], k: int, *, on_progress: Callable[[int, int], None] | None = None
) -> Neighbours:
    """The `k` nearest others of each row; a row of zeros has none.

    Args:
        vectors: (N, D), rows L2-normalised or zero; a memory map will do.
        k: neighbours of each.
        on_progress: called with rows done and N, where there are more than `EXACT`.

    Raises:
        BadVector: a value is not finite.
    """
    if len(vectors) <= EXACT:
        return exact_nearest(vectors, k)
    return approximate(vectors, k, on_progress=on_progress)


def approximate(
    vectors: NDArray[np.float32], k: int, *, on_progress: Callable[[int, int], None] | None = None
) -> Neighbours:
    """As `nearest`, by cells, whatever the number of rows.

    Raises:
        BadVector: a value is not finite.
    """
    count = len(vectors)
    full = np.flatnonzero(~zero_rows(vectors))
    indices, scores = np.full((count, k), NONE, np.int64), np.full((count, k), -np.inf, np.float32)
    if len(full) < 2 or not k:
        return indices, scores
    done = 0
    for some, others in _neighbourhoods(vectors, full):
        cosines = vectors[some] @ vectors[others].T
        cosines[np.arange(len(some)), np.arange(len(some))] = -np.inf  # nobody is its own neighbour
        best = np.broadcast_to(np.arange(len(others)), cosines.shape)
        if (wide := k + SPARE) < len(others):
            best = np.argpartition(cosines, -wide, axis=1)[:, -wide:]
        found = np.where(np.take_along_axis(cosines, best, axis=1) == -np.inf, NONE, others[best])
        indices[some], scores[some] = exact_scores(vectors, some, found, k)
        done += len(some)
        if on_progress:
            on_progress(done, count)
    return indices, scores


def _neighbourhoods(
    vectors: NDArray[np.float32], full: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of one cell, and those they are compared with: themselves first, then the rest of the cells beside it."""
    centres = _centres(vectors, full)
    # Of centres that are equal one has all the vectors; the others must not stand in the way of cells further off.
    taken, cell = np.unique(_closest(vectors, full, centres), return_inverse=True)
    centres = centres[taken]
    order = np.argsort(cell, kind="stable")
    cells = np.split(full[order], np.searchsorted(cell[order], np.arange(1, len(centres))))
    beside = nearest(centres, min(PROBED, len(centres)) - 1)[0]
    for own, others in zip(cells, beside, strict=True):
        rest = [cells[number][:SHARE] for number in others if number != NONE]
        for start in range(0, len(own), PIECE):
            some = own[start : start + PIECE]
            beyond = np.concatenate([own[:start], own[start + len(some) :]])[: MOST // 2]
            yield some, np.concatenate([some, beyond, *rest])[:MOST]


def _centres(vectors: NDArray[np.float32], full: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit vectors (cells, D): some of the rows, moved a few times to the mean of those nearest to them."""
    draw = np.random.default_rng(0)
    cells = max(len(full) // CELL, 1)
    seen = np.sort(draw.choice(full, min(SAMPLE * cells, len(full)), replace=False))
    return _moved(np.ascontiguousarray(vectors[np.sort(draw.choice(full, cells, replace=False))]), vectors, seen)


def _moved(centres: NDArray[np.float32], vectors: NDArray[np.float32], seen: NDArray[np.int64]) -> NDArray[np.float32]:
    """The centres after some rounds of spherical k-means over the rows `seen`."""
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        nearest_centre = _closest(vectors, seen, centres)
        for start in range(0, len(seen), BLOCK):
            mine = nearest_centre[start : start + BLOCK]
            order = np.argsort(mine, kind="stable")
            numbers, starts = np.unique(mine[order], return_index=True)
            sums[numbers] += np.add.reduceat(vectors[seen[start : start + BLOCK][order]], starts)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centres)
    return centres


def _closest(vectors: NDArray[np.float32], rows: NDArray[np.int64], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of a centre as near to each row (R,) as there is; of many centres those of a few groups are compared."""
    found = np.empty(len(rows), np.int64)
    if len(centres) <= FLAT:
        for start in range(0, len(rows), BLOCK):
            found[start : start + BLOCK] = (vectors[rows[start : start + BLOCK]] @ centres.T).argmax(axis=1)
        return found
    every = np.arange(len(centres))
    chosen = np.linspace(0, len(centres) - 1, max(round(len(centres) ** 0.5), 2)).astype(np.int64)
    middles = _moved(centres[chosen], centres, every)
    there, group = np.unique(_closest(centres, every, middles), return_inverse=True)
    middles = middles[there]  # an empty group answers nobody
    members = [np.flatnonzero(group == number) for number in range(len(middles))]
    wide = min(GROUPS, len(middles))
    for start in range(0, len(rows), BLOCK):
        some = vectors[rows[start : start + BLOCK]]
        near = np.argpartition(some @ middles.T, -wide, axis=1)[:, -wide:]
        best, where = np.full(len(some), -np.inf, np.float32), np.zeros(len(some), np.int64)
        for number, of_group in enumerate(members):
            asked = np.flatnonzero((near == number).any(axis=1))
            if not len(asked):
                continue
            cosines = some[asked] @ centres[of_group].T
            first = cosines.argmax(axis=1)
            score = cosines[np.arange(len(asked)), first]
            better = score > best[asked]
            best[asked[better]], where[asked[better]] = score[better], of_group[first[better]]
        found[start : start + BLOCK] = where
    return found
