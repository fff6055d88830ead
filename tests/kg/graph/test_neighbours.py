"""Edges are asked for once, and anew when any has changed."""

from __future__ import annotations

from typing import Any

import pytest

from kg.entities import prune_entities
from kg.filters import Filters
from kg.graph import neighbours as module
from kg.graph.cypher.filters import NEIGHBOURS
from kg.graph.cypher.similarity import EDGES_PUT, EDGES_REMOVE, EDGES_TAKE
from kg.graph.driver import Graph, Tx
from kg.graph.neighbours import Neighbours
from kg.graph.resolving import select

KEYS = [f"a:{number}" for number in range(6)]
CREATE = "UNWIND $keys AS key CREATE (:Entity {key: key, text: key, type: 'a', df: 2})"


class Counted:
    """A graph that notes which keys it is asked the neighbours of."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.asked = graph, list[list[str]]()

    def read(self, cypher: str, **params: Any) -> list[dict[str, Any]]:
        if cypher == NEIGHBOURS:
            self.asked.append(params["keys"])
        return self.graph.read(cypher, **params)


def put(graph: Graph, *edges: tuple[str, str, float]) -> None:
    rows = [{"a": a, "b": b, "weight": weight} for a, b, weight in edges]

    def work(tx: Tx) -> None:
        [row] = tx.run(EDGES_TAKE)
        tx.run(EDGES_PUT, rows=rows, source="text", generation="", number=row["number"])

    graph.transaction(work)


def remove(graph: Graph, a: str, b: str) -> None:
    def work(tx: Tx) -> None:
        [row] = tx.run(EDGES_TAKE)
        tx.run(EDGES_REMOVE, rows=[{"a": a, "b": b}], source="text", number=row["number"])

    graph.transaction(work)


@pytest.fixture
def counted(graph: Graph) -> Counted:
    graph.write(CREATE, keys=KEYS)
    put(graph, ("a:0", "a:1", 0.9), ("a:1", "a:2", 0.5), ("a:2", "a:3", 0.25))
    return Counted(graph)


def reach(counted: Counted, known: Neighbours, start: str, hops: int, min_weight: float = 0) -> dict[str, float]:
    filters = Filters(near=(start,), hops=hops, min_weight=min_weight)
    found = select(counted, filters, max_ids=9, timeout_s=9, neighbours=known)  # type: ignore[arg-type]
    return {key: way.strength for key, way in found.reach.items()}


def test_nothing_is_asked_twice_while_no_edge_changes(counted: Counted) -> None:
    known = Neighbours(counted)  # type: ignore[arg-type]
    two = {"a:0": 1.0, "a:1": 0.9, "a:2": 0.45}
    assert reach(counted, known, "a:0", 2) == two
    assert counted.asked == [["a:0"], ["a:1"]]
    assert reach(counted, known, "a:0", 2) == two
    assert reach(counted, known, "a:0", 2, min_weight=0.6) == {"a:0": 1.0, "a:1": 0.9}
    assert counted.asked == [["a:0"], ["a:1"]]
    assert reach(counted, known, "a:1", 2) == {"a:1": 1.0, "a:0": 0.9, "a:2": 0.5, "a:3": 0.125}
    assert counted.asked == [["a:0"], ["a:1"], ["a:2"]]
    assert known.of(["nobody"], known.version()) == {"nobody": ()}


def test_a_change_of_edges_is_seen_by_the_next_search(counted: Counted) -> None:
    known = Neighbours(counted)  # type: ignore[arg-type]
    reach(counted, known, "a:0", 1)
    put(counted.graph, ("a:0", "a:4", 0.75))
    assert reach(counted, known, "a:0", 1) == {"a:0": 1.0, "a:1": 0.9, "a:4": 0.75}
    remove(counted.graph, "a:0", "a:1")
    assert reach(counted, known, "a:0", 1) == {"a:0": 1.0, "a:4": 0.75}


def test_who_read_the_counter_before_a_change_spoils_nothing(counted: Counted) -> None:
    known = Neighbours(counted)  # type: ignore[arg-type]

    def at(version: int) -> set[str]:
        return {one.key for one in known.of(["a:0"], version)["a:0"]}

    before = known.version()
    put(counted.graph, ("a:0", "a:4", 0.75))
    assert at(known.version()) == at(before) == at(known.version()) == {"a:1", "a:4"}
    remove(counted.graph, "a:0", "a:4")
    assert at(known.version()) == {"a:1"}


def test_what_pruning_takes_out_is_gone(counted: Counted) -> None:
    known = Neighbours(counted)  # type: ignore[arg-type]
    assert reach(counted, known, "a:0", 2) == {"a:0": 1.0, "a:1": 0.9, "a:2": 0.45}
    counted.graph.write("MATCH (e:Entity {key: 'a:1'}) SET e.df = 0")
    assert prune_entities(counted.graph) == 1
    assert reach(counted, known, "a:0", 2) == {"a:0": 1.0}


def test_what_is_kept_is_bounded(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 1)
    known = Neighbours(counted)  # type: ignore[arg-type]
    for _ in range(2):
        reach(counted, known, "a:1", 1)
    assert counted.asked == [["a:1"], ["a:1"]]
    monkeypatch.setattr(module, "KEPT", 100)
    monkeypatch.setattr(module, "KEPT_S", -1.0)
    reach(counted, known, "a:1", 1)
    assert len(counted.asked) == 3
