"""Counts of the catalogue, exact and cheap: asked of the graph once, and kept until anything changes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from kg import feed
from kg.graph import selection as graph_side
from kg.graph.cypher.filters import COUNT
from kg.graph.driver import Graph
from kg.graph.selection import Selection

__all__ = ["Statistics"]

KEPT = 2000  # counts; beyond, all are forgotten


class Statistics:
    """Counts at one revision of the catalogue. The counter of its changes is read each time: when it has moved, all
    that was counted is void.

    Keys of a selection are resolved before it is counted, so edges between entities have no say. Threads may share it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._lock = threading.Lock()
        self._revision = -1
        self._rows: dict[str, tuple[int, int]] = {}  # collection → cursor, and rows there
        self._counts: dict[str, tuple[int, int]] = {}  # what is counted → how many, and the limit of the counting

    def products(self) -> int:
        """Products of the whole catalogue."""
        return self.count(Selection(), 2**62)

    def count(self, selection: Selection, limit: int) -> int:
        """Admitted products, counted up to `limit`."""
        revision, asked = feed.revision(self.graph), hashlib.sha256(repr(selection.tree).encode()).hexdigest()
        with self._lock:
            if revision != self._revision or len(self._counts) > KEPT:
                self._revision, self._counts = revision, {}
            known = self._counts.get(asked)
        if known is not None and (known[0] < known[1] or limit <= known[1]):
            return min(known[0], limit)
        if selection.everything:  # both engines keep the number of all nodes of a label
            size, limit = int(self.graph.read(COUNT)[0]["n"]), 2**62
        else:
            size = graph_side.count(self.graph, selection, limit)
        with self._lock:
            if revision == self._revision:  # counted after the counter was read: never older than it says
                self._counts[asked] = (size, limit)
        return size

    def rows(self, collection: str, cursor: int, count: Callable[[], int]) -> int:
        """Rows of a collection: counted once for each cursor of its generation."""
        with self._lock:
            known = self._rows.get(collection)
        if known is None or known[0] != cursor:
            known = cursor, count()
            with self._lock:
                self._rows[collection] = known
        return known[1]
