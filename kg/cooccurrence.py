"""Which entities are named by the same products, counted in bounded memory.

The weight of a pair is the cosine of the two sets of products: c / sqrt(df_a df_b). Unlike PMI it does not depend on
the size of the catalogue: a new product changes the weights of its own entities and of no others.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kg.similarity import NONE, Neighbours

__all__ = ["LEAST_TOGETHER", "MOST", "Mentions", "cooccurring"]

MOST = 15  # entities of one product that are paired, the rarest: at most 105 pairs, whatever the product names
LEAST_TOGETHER = 2  # products that name both: of one product it may be chance
CHUNK = 20_000  # products paired at a time
BUCKET = 1 << 23  # pairs counted at a time; the others wait on disk
DIGITS = 6


@dataclass(frozen=True)
class Mentions:
    """Which entities each product names.

    Attributes:
        starts: (P + 1,), product p names `entities[starts[p]:starts[p + 1]]`, each once.
        entities: numbers of entities.
        count: how many entities there are.
    """

    starts: NDArray[np.int64]
    entities: NDArray[np.int32]
    count: int

    @property
    def frequencies(self) -> NDArray[np.int64]:
        """(count,), products that name each."""
        return np.bincount(self.entities, minlength=self.count)


def cooccurring(
    mentions: Mentions, k: int, *, most: int = MOST, least: int = LEAST_TOGETHER, folder: Path | None = None
) -> Neighbours:
    """The `k` entities that most often stand beside each, by weight; equal weights by number.

    Pairs are laid by their first entity into buckets of like size, on disk where there is more than one, and counted
    bucket by bucket. An entity of very many products makes a large bucket, never a row of a matrix.

    Args:
        mentions: what products name.
        k: neighbours of each.
        most: entities of one product that are paired.
        least: products that must name both.
        folder: where the buckets lie meanwhile; None: the system's temporary folder.
    """
    near = np.full((mentions.count, k), NONE, np.int64), np.full((mentions.count, k), -np.inf, np.float32)
    frequencies = mentions.frequencies
    loads = np.zeros(mentions.count, np.int64)
    for table in _tables(mentions, frequencies, most):
        loads += np.bincount(table.ravel(), minlength=mentions.count) * (table.shape[1] - 1)
    buckets = max(1, math.ceil(int(loads.sum()) / BUCKET))
    ends = np.searchsorted(np.cumsum(loads), np.arange(1, buckets) * BUCKET)  # last entity of each bucket but one
    with tempfile.TemporaryDirectory(dir=folder, prefix="pairs-") as place:
        paths = [Path(place) / f"{number}.pairs" for number in range(buckets)]
        for pairs in _pairs(mentions, frequencies, most):
            bucket = np.searchsorted(ends, pairs // mentions.count)
            order = np.argsort(bucket, kind="stable")
            parts = np.split(pairs[order], np.searchsorted(bucket[order], np.arange(1, buckets)))
            for path, part in zip(paths, parts, strict=True):
                with path.open("ab") as file:
                    part.tofile(file)
        for path in paths:
            if path.exists():
                _count(np.fromfile(path, np.int64), frequencies, least, near)
                path.unlink()
    return near


def _tables(mentions: Mentions, frequencies: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """Entities of products that have equally many: tables (products, entities), of the rarest `most` of each."""
    for start in range(0, len(mentions.starts) - 1, CHUNK):
        starts = mentions.starts[start : start + CHUNK + 1]
        entities = mentions.entities[starts[0] : starts[-1]].astype(np.int64)
        sizes = np.diff(starts)
        product = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((entities, frequencies[entities], product))
        rank = np.arange(len(entities)) - np.repeat(starts[:-1] - starts[0], sizes)
        kept = rank < most
        entities, product = entities[order][kept], product[kept]
        sizes = np.minimum(sizes, most)
        for size in range(2, most + 1):
            if (some := sizes[product] == size).any():
                yield entities[some].reshape(-1, size)


def _pairs(mentions: Mentions, frequencies: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """Pairs in both directions, as first * count + second."""
    for table in _tables(mentions, frequencies, most):
        one, other = np.nonzero(~np.eye(table.shape[1], dtype=bool))
        yield (table[:, one] * mentions.count + table[:, other]).ravel()


def _count(pairs: NDArray[np.int64], frequencies: NDArray[np.int64], least: int, near: Neighbours) -> None:
    """Write down the neighbours of every entity whose pairs these are."""
    found, together = np.unique(pairs, return_counts=True)
    found, together = found[together >= least], together[together >= least]
    one, other = np.divmod(found, len(frequencies))
    weight = np.round(together / np.sqrt(frequencies[one] * frequencies[other].astype(np.float64)), DIGITS)
    order = np.lexsort((other, -weight, one))
    one, other, weight = one[order], other[order], weight[order]
    rank = np.arange(len(one)) - np.searchsorted(one, one)
    kept = rank < near[0].shape[1]
    near[0][one[kept], rank[kept]] = other[kept]
    near[1][one[kept], rank[kept]] = np.minimum(weight[kept], 1.0)
