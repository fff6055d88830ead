"""Nearest neighbours of any number of vectors: all compared up to `EXACT`, beyond it only those in cells close by.

The cells are of fixed size, and the nearest cells are found over a graph of their centres: so the work grows with
N log N, not with the square. The scores of what is found are as exact as in `kg.similarity`; some neighbours are missed
(`python -m benchmarks.entity_graph` says how many).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg.similarity import NONE, Neighbours, exact_scores, zero_rows
from kg.similarity import nearest as exact_nearest

__all__ = ["EXACT", "approximate", "nearest"]

EXACT = 20_000
CELL = 100  # vectors of one cell, on average
PROBED = 32  # cells looked into
LINKS, BUILD_WIDTH, SEARCH_WIDTH = 16, 64, 64  # of the graph of centres
ROUNDS = 3  # in which the centres move to the mean of their vectors,
SAMPLE = 16  # each of which is seen by so many
QUERIES = 2048  # looked up at a time
ADDED = 50_000


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
    import torch  # before faiss: with faiss's threads loaded first, torch's matrix products take many times as long

    import faiss  # isort: skip

    faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    count, width = vectors.shape
    full = np.flatnonzero(~zero_rows(vectors))
    indices, scores = np.full((count, k), NONE, np.int64), np.full((count, k), -np.inf, np.float32)
    if len(full) < 2 or not k:
        return indices, scores
    centres = _centres(vectors, full, faiss)
    quantiser = _graph(centres, faiss)
    index = faiss.IndexIVFScalarQuantizer(
        quantiser, width, len(centres), faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.train(centres)
    for start in range(0, len(full), ADDED):
        some = full[start : start + ADDED]
        index.add_with_ids(_rows(vectors, some), some)
    index.nprobe = min(PROBED, len(centres))
    for start in range(0, len(full), QUERIES):
        some = full[start : start + QUERIES]
        _, found = index.search(_rows(vectors, some), k + 1)
        found[found == some[:, None]] = NONE  # nobody is its own neighbour
        indices[some], scores[some] = exact_scores(vectors, some, found, k)
        if on_progress:
            on_progress(start + len(some), count)
    return indices, scores


def _centres(vectors: NDArray[np.float32], full: NDArray[np.int64], faiss: Any) -> NDArray[np.float32]:
    """Unit vectors (cells, D): some of the rows, moved a few times to the mean of those nearest to them."""
    draw = np.random.default_rng(0)
    cells = max(len(full) // CELL, 1)
    centres = _rows(vectors, np.sort(draw.choice(full, cells, replace=False)))
    seen = np.sort(draw.choice(full, min(SAMPLE * cells, len(full)), replace=False))
    for _ in range(ROUNDS):
        graph, sums = _graph(centres, faiss), np.zeros_like(centres)
        for start in range(0, len(seen), ADDED):
            rows = _rows(vectors, seen[start : start + ADDED])
            _, cell = graph.search(rows, 1)
            np.add.at(sums, cell[:, 0], rows)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centres)
    return centres


def _graph(centres: NDArray[np.float32], faiss: Any) -> Any:
    graph = faiss.IndexHNSWFlat(centres.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = BUILD_WIDTH, SEARCH_WIDTH
    graph.add(centres)
    return graph


def _rows(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors[rows], np.float32)
