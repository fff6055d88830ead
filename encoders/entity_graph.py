"""Which entities are near each other: a sparse graph S from several kinds of evidence, never a dense table.

    text          sentence vectors of the frozen text model
    cooccurrence  which entities stand in one caption: rows of positive PMI, reduced
    visual        prototypes: the mean frozen feature of the training pictures of an entity
    memory        the vectors that the encoder itself has for them now

Each gives a unit row for each entity; S_ij is the weighted mean of their cosines, kept for the k nearest of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from encoders import neighbours
from encoders.entities import NONE, EntityTable
from encoders.tables import TokenTable

__all__ = ["SOURCES", "combined", "cooccurrence", "evidence", "nearest", "prototypes", "reduced", "rewired", "smoothed"]

SOURCES = ("text", "cooccurrence", "visual", "memory")
BLOCK = 2048  # rows against all others at a time
DIM = 64  # of reduced co-occurrence
LEAST_SEEN = 5  # pictures of a prototype: with fewer it would tell an item's own picture

Rows = NDArray[np.float32]


def evidence(source: str, entities: EntityTable, table: TokenTable, fit: NDArray[np.int64]) -> Rows:
    """(E, D), unit rows (or zero where nothing is known), of every source but "memory"; `fit`: the training items."""
    if source == "text":
        return sentence_means(entities)
    if source == "cooccurrence":
        return cooccurrence(entities.items[fit], len(entities.vocabulary))
    return prototypes(table.features, table.views[fit, 0], entities.items[fit], len(entities.vocabulary))


def sentence_means(entities: EntityTable) -> Rows:
    """Mean of each entity's frozen tokens."""
    out = np.zeros((len(entities.vocabulary), entities.nodes.shape[2]), np.float32)
    for number, count in enumerate(entities.node_counts):
        out[number] = entities.nodes[number, :count].astype(np.float32).mean(axis=0)
    return unit(out)


def incidence(items: NDArray[np.int64], count: int) -> sparse.csr_matrix:
    """(N, E): which item has which entity."""
    rows, places = np.nonzero(items != NONE)
    ones = np.ones(len(rows), np.float32)
    found = sparse.csr_matrix((ones, (rows, items[rows, places])), shape=(len(items), count))
    found.data[:] = 1
    return found


def cooccurrence(items: NDArray[np.int64], count: int, *, dim: int = DIM) -> Rows:
    """(E, ≤ dim): positive pointwise mutual information of entities in one item, reduced by truncated SVD.

    ppmi_ij = [log(n_ij N / (n_i n_j))]₊, without the diagonal; rows are U √Σ.
    """
    which = incidence(items, count)
    together = (which.T @ which).tocoo()
    df = np.maximum(np.asarray(which.sum(axis=0)).ravel(), 1)
    value = np.log(together.data * len(items) / (df[together.row] * df[together.col]))
    kept = (value > 0) & (together.row != together.col)
    matrix = sparse.csr_matrix(
        (value[kept].astype(np.float32), (together.row[kept], together.col[kept])), shape=(count, count)
    )
    dim = min(dim, count - 2)
    if dim < 1 or not matrix.nnz:
        return np.zeros((count, 1), np.float32)
    left, spread, _ = svds(matrix, k=dim, v0=np.ones(count, np.float32))  # a start of its own: the same on every run
    return unit(left * np.sqrt(np.maximum(spread, 0)))


def prototypes(
    features: NDArray[np.float16], pictures: NDArray[np.int64], items: NDArray[np.int64], count: int
) -> Rows:
    """(E, W): mean feature of the global token of the pictures of each entity's items, less the mean of all;
    zero where there are fewer than `LEAST_SEEN`.

    Args:
        features: (M, R, W), row 0 of a picture its global token.
        pictures: (N,) of the items.
        items: (N, K) entities of the items.
        count: E.
    """
    which = incidence(items, count)
    total, mean = np.zeros((count, features.shape[2]), np.float32), np.zeros(features.shape[2], np.float32)
    for start in range(0, len(pictures), BLOCK):
        rows = slice(start, start + BLOCK)
        seen = unit(features[pictures[rows], 0].astype(np.float32))
        total += which[rows].T @ seen
        mean += seen.sum(axis=0)
    df = np.asarray(which.sum(axis=0)).ravel()[:, None]
    return unit(np.where(df >= LEAST_SEEN, total / np.maximum(df, 1) - mean / max(len(pictures), 1), 0))


def combined(parts: Mapping[str, Rows], weights: Mapping[str, float]) -> Rows:
    """(E, all widths): rows whose products are the weighted mean of the sources' cosines."""
    total = sum(weights[name] for name in parts)
    return np.concatenate([rows * np.float32((weights[name] / total) ** 0.5) for name, rows in parts.items()], axis=1)


def reduced(rows: Rows, dim: int) -> Rows:
    """(E, dim), unit rows: principal components, zero beyond as many as there are."""
    rows = rows - rows.mean(axis=0) if len(rows) else rows
    _, vectors = np.linalg.eigh(rows.T @ rows)
    found = rows @ vectors[:, ::-1][:, :dim]
    return unit(np.pad(found, ((0, 0), (0, dim - found.shape[1]))))


def nearest(rows: Rows, k: int) -> sparse.csr_matrix:
    """(E, E) symmetric, at least the k nearest of each row by inner product, those above 0; zeros on the diagonal."""
    count, k = len(rows), min(k, len(rows) - 1)
    if k < 1:
        return sparse.csr_matrix((count, count), dtype=np.float32)
    columns, values = neighbours.nearest(rows, k)
    kept = values > 0  # where a row has fewer neighbours -inf stands
    found = sparse.csr_matrix(
        (values[kept], (np.repeat(np.arange(count), k)[kept.ravel()], columns[kept])), shape=(count, count)
    )
    return found.maximum(found.T).tocsr()


def rewired(graph: sparse.csr_matrix, *, seed: int, rounds: int = 10) -> sparse.csr_matrix:
    """The same degrees, the same weights, other neighbours: pairs of edges exchange their ends at random, so that
    every node keeps its degree. The control that tells whether it matters which entities are near.

    Args:
        graph: symmetric, without a diagonal.
        seed: of the draw.
        rounds: exchanges tried for each edge.
    """
    edges = sparse.triu(graph, k=1).tocoo()
    order = np.random.default_rng(seed)
    ends = np.stack([edges.row, edges.col], axis=1).astype(np.int64)
    known = {(int(a), int(b)) for a, b in ends}
    for _ in range(rounds):
        chosen = order.permutation(len(ends))
        swapped = order.random(len(ends) // 2) < 0.5
        for one, other, swap in zip(chosen[0::2], chosen[1::2], swapped, strict=False):
            a, b = ends[one].tolist()
            c, d = ends[other].tolist()
            if swap:
                c, d = d, c
            first, second = (min(a, d), max(a, d)), (min(c, b), max(c, b))
            if a == d or c == b or first == second or first in known or second in known:
                continue
            known -= {(a, b), (min(c, d), max(c, d))}
            known |= {first, second}
            ends[one], ends[other] = first, second
    found = sparse.csr_matrix((edges.data, (ends[:, 0], ends[:, 1])), shape=graph.shape)
    return (found + found.T).tocsr()


def smoothed(vectors: Rows, graph: sparse.csr_matrix) -> Rows:
    """(E, D), unit rows: halfway between each entity's vector and the weighted mean of its neighbours'."""
    degree = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)[:, None]
    return unit(vectors + unit((graph @ vectors) / degree))


def block(graph: sparse.csr_matrix, numbers: Sequence[int] | NDArray[np.int64]) -> Rows:
    """(U, U): S of these entities."""
    return graph[numbers][:, numbers].toarray().astype(np.float32)


def unit(rows: Rows) -> Rows:
    """Rows of length 1; what is zero stays so."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 1e-12, length, 1)).astype(np.float32)
