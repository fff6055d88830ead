"""The entity graph as arrays: exported once, never asked for through the database while a network is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kg.errors import BadInput, BadVector

__all__ = ["EntityGraph", "Merge", "both_ways"]

Merge = Literal["max", "sum"]


@dataclass(frozen=True)
class EntityGraph:
    """Entities with a vector of their text each, and what connects them.

    Attributes:
        keys: of N entities, all different.
        types: of each.
        features: (N, F) float32.
        edges: (2, E) int64, places in `keys`; a pair may come several times, in either direction. Loops do not count.
        weights: (E,) float32; edges whose weight is not positive do not count.
        sources: (E,) int8, places in `names`.
        names: of the sources.

    Raises:
        BadInput: there is no entity, a key comes twice, an edge leads to no entity or has a weight that is no number.
        BadVector: arrays whose shapes do not fit, or features that are not finite.
    """

    keys: Sequence[str]
    types: Sequence[str]
    features: NDArray[np.float32]
    edges: NDArray[np.int64]
    weights: NDArray[np.float32]
    sources: NDArray[np.int8]
    names: tuple[str, ...] = ("text",)

    def __post_init__(self) -> None:
        count, edges = len(self.keys), self.edges.shape[-1]
        if not count:
            raise BadInput("the graph has no entities", hint="`skugraph ingest` fills it")
        if len(set(self.keys)) < count:
            raise BadInput(f"{count - len(set(self.keys))} entity keys come twice")
        shapes = [self.edges.shape, self.weights.shape, self.sources.shape]
        if self.features.ndim != 2 or len(self.features) != count or len(self.types) != count:
            raise BadVector(f"features {self.features.shape} and {len(self.types)} types for {count} entities")
        if shapes != [(2, edges), (edges,), (edges,)]:
            raise BadVector(f"edges, weights and sources have shapes {shapes}: (2, E), (E,) and (E,) belong together")
        if not np.isfinite(self.features).all():
            bad = int(np.flatnonzero(~np.isfinite(self.features).all(axis=1))[0])
            raise BadVector(f"the features of entity {self.keys[bad]!r} are not finite")
        if edges and (self.edges.min() < 0 or self.edges.max() >= count):
            raise BadInput(f"edges lead to entity {int(self.edges.max())}, there are {count}")
        if not np.isfinite(self.weights).all():
            a, b = self.edges[:, np.flatnonzero(~np.isfinite(self.weights))[0]]
            raise BadInput(
                f"the edge between {self.keys[a]!r} and {self.keys[b]!r} has a weight that is not a finite number",
                hint="`skugraph relate` computes the edges anew",
            )

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, whatever order the edges come in."""
        order = np.lexsort((self.weights, self.sources, self.edges[1], self.edges[0]))
        found = hashlib.sha256(json.dumps([list(self.keys), list(self.types), self.names]).encode())
        for array in (self.features, self.edges[:, order], self.weights[order], self.sources[order]):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    def merged(self, how: Merge = "max") -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Pairs (2, M), the smaller place first, each once, in order; and their weights (M,) over all sources."""
        codes, weights = self._codes(np.ones(len(self.weights), bool))
        unique, where = np.unique(codes, return_inverse=True)
        merged = np.zeros(len(unique), np.float32)
        (np.add if how == "sum" else np.maximum).at(merged, where, weights)
        return np.stack([unique // len(self.keys), unique % len(self.keys)]), merged

    def named(self, pairs: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
        """For each source that has any, which of the pairs (2, M) it connects, (M,)."""
        asked = pairs[0] * len(self.keys) + pairs[1]
        found = {name: np.isin(asked, self._codes(self.sources == at)[0]) for at, name in enumerate(self.names)}
        return {name: has for name, has in found.items() if has.any()}

    def _codes(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        low, high = self.edges.min(axis=0), self.edges.max(axis=0)
        kept = chosen & (low != high) & (self.weights > 0)
        return low[kept] * len(self.keys) + high[kept], self.weights[kept]


def both_ways(pairs: NDArray[np.int64], weights: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges (2, 2M) and weights (2M,): each pair in both directions."""
    return np.concatenate([pairs, pairs[::-1]], axis=1), np.concatenate([weights, weights])
