"""The time by the clock of the graph: what hosts whose own clocks differ, or are set, can agree on."""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

from kg.graph.cypher.core import CLOCK
from kg.graph.driver import Graph

__all__ = ["graph_time"]

ASK_S = 2.0  # asked anew after this; in between this process's monotonic clock tells
_seen: WeakKeyDictionary[Graph, tuple[float, float]] = (
    WeakKeyDictionary()
)  # when it was asked (monotonic), what it said


def graph_time(graph: Graph) -> float:
    """Seconds since 1970.

    Raises:
        StoreDown: the graph does not answer.
    """
    asked, said = _seen.get(graph, (float("-inf"), 0.0))
    if time.monotonic() - asked > ASK_S:
        began = time.monotonic()
        said = graph.read(CLOCK)[0]["at"] / 1000
        asked = (began + time.monotonic()) / 2
        _seen[graph] = asked, said
    return said + time.monotonic() - asked
