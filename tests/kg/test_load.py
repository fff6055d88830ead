from __future__ import annotations

from kg.graph.driver import Graph
from kg.load import FRESH_S, forget, report, slowest


def test_the_slowest_process_of_the_last_seconds_counts(graph: Graph) -> None:
    assert slowest(graph) == 0
    report(graph, "one", 80.0)
    report(graph, "two", 30.0)
    assert slowest(graph) == 80
    report(graph, "one", 20.0)
    assert slowest(graph) == 30
    graph.write("MATCH (l:Load {id: 'two'}) SET l.at = l.at - $ms", ms=int(FRESH_S * 1000) + 1000)
    assert slowest(graph) == 20, "what was said long ago is not looked at"
    forget(graph, "one")
    assert graph.read("MATCH (l:Load) RETURN l.id AS id") == []
