"""Edges between entities as filters walk them: asked of the graph once a minute, or when any edge has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kg.graph.cypher.filters import NEIGHBOURS
from kg.graph.cypher.graph_encoder import EDGES_AT
from kg.graph.driver import Graph

__all__ = ["Neighbour", "Neighbours"]

KEPT = 200_000  # entities and edges; beyond, all are forgotten (some 50 MB)
KEPT_S = 60.0  # of what no counter tells: a graph brought back from a backup, an edge that somebody drew by hand


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The other end of one SIMILAR_TO edge.

    Attributes:
        df: products that bear it, as far as the graph tells.
    """

    key: str
    text: str
    df: int | None
    weight: float


class Neighbours:
    """Neighbours by entity, at one number of the counter `edges`: whoever writes edges takes the next one in the same
    transaction, so when it has moved, all that is kept is void. Threads may share it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._lock = threading.Lock()
        self._version, self._since = -1, 0.0
        self._known: dict[str, Sequence[Neighbour]] = {}
        self._edges = 0

    def version(self) -> int:
        """Number of the latest change of edges; to be read before `of`, once for one walk."""
        return int(self.graph.read(EDGES_AT)[0]["value"])

    def of(self, keys: Collection[str], version: int) -> Mapping[str, Sequence[Neighbour]]:
        """Neighbours of each entity, in no order; of those that the graph lacks there are none.

        Args:
            keys: of entities.
            version: as it was read before.
        """
        with self._lock:
            outlived = time.monotonic() - self._since > KEPT_S
            if version != self._version or outlived or self._edges > KEPT:
                self._version, self._since, self._known, self._edges = version, time.monotonic(), {}, 0
            found = {key: self._known[key] for key in keys if key in self._known}
        if missing := sorted(set(keys) - found.keys()):
            rows = self.graph.read(NEIGHBOURS, keys=missing)
            fresh: dict[str, Sequence[Neighbour]] = dict.fromkeys(missing, ())
            for row in rows:  # Neo4j gives nulls of what another transaction removed after it was found
                there = (other for other in row["others"] if other["key"] is not None)
                if row["source"] is not None:
                    fresh[row["source"]] = tuple(Neighbour(**other) for other in there)
            found |= fresh
            with self._lock:
                if version == self._version:  # read after the counter was: never older than it says
                    self._edges += sum(1 + len(others) for key, others in fresh.items() if key not in self._known)
                    self._known |= fresh
        return found
