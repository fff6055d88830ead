"""Parts of a graph: the sampled surroundings of some nodes, without any compiled extension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbours", "Part"]


@dataclass(frozen=True)
class Part:
    """Some nodes and edges of a graph.

    Attributes:
        nodes: (M,) int64, places in the graph; those that were asked for first.
        edges: (2, e) int64, from neighbour to node, places in `nodes`.
        weights: (e,) float32.
    """

    nodes: NDArray[np.int64]
    edges: NDArray[np.int64]
    weights: NDArray[np.float32]


class Neighbours:
    """Edges by the node that they lead to.

    Args:
        edges: (2, E), from neighbour to node.
        weights: (E,).
        count: N, nodes.
        loops: (N,), weight of an edge from each node to itself that is in every part; None for none.
    """

    def __init__(
        self,
        edges: NDArray[np.int64],
        weights: NDArray[np.float32],
        count: int,
        *,
        loops: NDArray[np.float32] | None = None,
    ) -> None:
        order = np.argsort(edges[1], kind="stable")
        self.begin = np.concatenate([[0], np.bincount(edges[1], minlength=count).cumsum()]).astype(np.int64)
        self.sources, self.weights, self.loops, self.count = edges[0][order], weights[order], loops, count

    @property
    def degrees(self) -> NDArray[np.int64]:
        return np.diff(self.begin)

    def whole(self) -> Part:
        """The graph itself."""
        every = np.arange(self.count)
        edges = np.stack([self.sources, every.repeat(self.degrees)])
        return self._part(every, edges, self.weights, self.count)

    def around(
        self, seeds: NDArray[np.int64], fanouts: Sequence[int | None], rng: np.random.Generator, *, scaled: bool = False
    ) -> Part:
        """What lies up to `len(fanouts)` edges before the seeds.

        Args:
            seeds: nodes, all different.
            fanouts: for each hop, how many neighbours of a node are drawn (twice the same counts once); None for all.
            rng: for the draws.
            scaled: the weights of drawn edges grow so that their expected sum is that of all.
        """
        nodes, fresh = seeds, seeds
        places = np.full(self.count, -1, np.int64)
        places[seeds] = np.arange(len(seeds))
        found: list[NDArray[np.int64]] = []
        targets: list[NDArray[np.int64]] = []
        weights: list[NDArray[np.float32]] = []
        for fanout in fanouts:
            rows, at, share = self._draw(fresh, fanout, rng)
            found.append(at)
            targets.append(rows)
            weights.append(self.weights[at] * (share if scaled else np.float32(1)))
            reached = np.unique(self.sources[at])
            fresh = reached[places[reached] < 0]
            places[fresh] = len(nodes) + np.arange(len(fresh))
            nodes = np.concatenate([nodes, fresh])
        at = np.concatenate(found)
        edges = np.stack([places[self.sources[at]], places[np.concatenate(targets)]])
        return self._part(nodes, edges, np.concatenate(weights).astype(np.float32), len(nodes))

    def _draw(
        self, nodes: NDArray[np.int64], fanout: int | None, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """For each drawn edge: the node it leads to, its place, and how many edges it stands for."""
        degrees = self.degrees[nodes]
        few = degrees if fanout is None else np.where(degrees <= fanout, degrees, 0)
        rows = nodes.repeat(few)
        within = np.arange(few.sum()) - (few.cumsum() - few).repeat(few)
        at = self.begin[rows] + within
        share = np.ones(len(at), np.float32)
        if fanout is not None and (many := np.flatnonzero(degrees > fanout)).size:
            drawn = (rng.random((len(many), fanout)) * degrees[many][:, None]).astype(np.int64)
            drawn = np.unique((self.begin[nodes[many]][:, None] + drawn).ravel())
            owners = np.searchsorted(self.begin, drawn, side="right") - 1
            taken = np.bincount(owners, minlength=self.count)[owners]
            rows, at = np.concatenate([rows, owners]), np.concatenate([at, drawn])
            share = np.concatenate([share, (self.degrees[owners] / taken).astype(np.float32)])
        return rows, at, share

    def _part(
        self, nodes: NDArray[np.int64], edges: NDArray[np.int64], weights: NDArray[np.float32], count: int
    ) -> Part:
        if self.loops is not None:
            edges = np.concatenate([edges, np.tile(np.arange(count), (2, 1))], axis=1)
            weights = np.concatenate([weights, self.loops[nodes]])
        return Part(nodes, edges, weights)
