"""Edges of one source brought up to date, on both graph engines."""

from __future__ import annotations

import numpy as np
import pytest

from kg.entities import prune_entities
from kg.graph.driver import Graph
from kg.graph.edges import Edges, Settled, counts, settle

EDGES = """
MATCH (a:Entity)-[s:SIMILAR_TO]->(b:Entity)
RETURN a.key AS a, b.key AS b, s.weight AS weight, s.source AS source, s.generation AS generation
ORDER BY a, b, source
"""
NUMBERS = "MATCH (e:Entity) RETURN e.key AS key, e.edges_at AS number ORDER BY key"
CREATE = "UNWIND $keys AS key CREATE (:Entity {key: key, text: key, df: 1})"
LINK = """
UNWIND $rows AS row
MATCH (a:Entity {key: row[0]}) MATCH (b:Entity {key: row[1]})
CREATE (a)-[:SIMILAR_TO {source: row[2], weight: row[3], generation: row[4]}]->(b)
"""


@pytest.fixture
def shop(graph: Graph) -> Graph:
    graph.write(CREATE, keys=[f"a:{n}" for n in range(6)])
    return graph


def wanted(pairs: dict[tuple[int, int], float], source: str = "text", generation: str = "s1") -> Edges:
    ends = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    weights = np.array([pairs[a, b] for a, b in ends.tolist()], np.float32)
    return Edges(source, [f"a:{n}" for n in range(6)], (ends[:, 0], ends[:, 1]), weights, generation)


def edges(graph: Graph) -> list[tuple[str, str, float, str, str]]:
    return [tuple(row.values()) for row in graph.read(EDGES)]


def numbers(graph: Graph) -> list[int | None]:
    return [row["number"] for row in graph.read(NUMBERS)]


def test_only_what_differs_is_written_and_numbered(shop: Graph) -> None:
    assert settle(shop, wanted({(0, 1): 0.9, (1, 2): 0.7, (3, 4): 0.61})) == Settled(3, 0, 0)
    assert numbers(shop) == [1, 1, 1, 1, 1, None]
    assert settle(shop, wanted({(0, 1): 0.9, (1, 2): 0.7, (3, 4): 0.61}, generation="s2")) == Settled(0, 0, 0)
    assert numbers(shop) == [1, 1, 1, 1, 1, None], "nothing changed, nothing is numbered"

    assert settle(shop, wanted({(0, 1): 0.9, (1, 2): 0.8, (4, 5): 0.7}, generation="s3")) == Settled(2, 1, 0)
    assert edges(shop) == [
        ("a:0", "a:1", 0.9, "text", "s1"),
        ("a:1", "a:2", 0.8, "text", "s3"),
        ("a:4", "a:5", 0.7, "text", "s3"),
    ]
    assert numbers(shop) == [1, 2, 2, 2, 2, 2]


def test_sources_do_not_touch_each_other(shop: Graph) -> None:
    shop.write(LINK, rows=[["a:0", "a:1", "hand", 0.3, "x"]])
    settle(shop, wanted({(0, 1): 0.9}))
    settle(shop, wanted({(0, 1): 0.4}, "visual"))
    assert [edge[2:4] for edge in edges(shop)] == [(0.3, "hand"), (0.9, "text"), (0.4, "visual")]
    settle(shop, wanted({}))
    assert [edge[3] for edge in edges(shop)] == ["hand", "visual"]
    assert counts(shop) == {"text": 0, "cooccurrence": 0, "visual": 1}


def test_edges_that_are_wrong_are_mended(shop: Graph) -> None:
    """Twice the same pair, from the larger key, to itself, to an entity that the computation does not know."""
    shop.write(CREATE, keys=["b:0"])
    pairs = [("a:0", "a:1"), ("a:0", "a:1"), ("a:2", "a:1"), ("a:3", "a:3"), ("a:0", "b:0")]
    shop.write(LINK, rows=[[a, b, "text", 0.9, "x"] for a, b in pairs])
    settle(shop, wanted({(0, 1): 0.9, (1, 2): 0.9}))
    assert [edge[:2] for edge in edges(shop)] == [("a:0", "a:1"), ("a:1", "a:2")]


def test_out_of_time_after_one_transaction_it_goes_on_where_it_was(shop: Graph) -> None:
    every = {(a, b): 0.7 for a in range(6) for b in range(a + 1, 6)}
    assert settle(shop, wanted(every), batch=4, until=0) == Settled(4, 0, 11)
    assert settle(shop, wanted(every), batch=4, until=0) == Settled(4, 0, 7)
    assert settle(shop, wanted(every), batch=4) == Settled(7, 0, 0)
    assert len(edges(shop)) == 15


def test_a_transaction_may_both_remove_and_put(shop: Graph) -> None:
    """Strangers, edges not wanted, and new ones, cut at every place."""
    shop.write(CREATE, keys=["0:0", "b:0"])
    every = {(a, b): 0.7 for a in range(6) for b in range(a + 1, 6)}
    for batch in range(1, 10):
        rows = [["0:0", "a:1", "text", 0.9, "x"], ["a:0", "b:0", "text", 0.9, "x"], ["a:5", "a:1", "text", 0.9, "x"]]
        shop.write(LINK, rows=rows)
        settle(shop, wanted({(0, 5): 0.7}))
        shop.write(LINK, rows=rows)
        assert settle(shop, wanted({**every, (0, 5): 0.8}), batch=batch) == Settled(15, 3, 0)
        assert [edge[:3] for edge in edges(shop)] == [
            (f"a:{a}", f"a:{b}", 0.8 if (a, b) == (0, 5) else 0.7) for a, b in every
        ]


def test_an_end_that_has_vanished_leaves_nothing_behind(shop: Graph) -> None:
    shop.write("MATCH (e:Entity {key: 'a:1'}) DETACH DELETE e")
    assert settle(shop, wanted({(0, 1): 0.9, (2, 3): 0.9})) == Settled(1, 0, 0)
    assert [edge[:2] for edge in edges(shop)] == [("a:2", "a:3")]
    assert [row["key"] for row in shop.read(NUMBERS)] == ["a:0", "a:2", "a:3", "a:4", "a:5"]


def test_neighbours_of_a_pruned_entity_are_numbered(shop: Graph) -> None:
    settle(shop, wanted({(0, 1): 0.9, (2, 3): 0.9}))
    shop.write("MATCH (e:Entity {key: 'a:1'}) SET e.df = 0")
    assert prune_entities(shop) == 1
    assert numbers(shop) == [2, 1, 1, None, None]
    assert prune_entities(shop) == 0
    assert shop.read("MATCH (c:Counter {name: 'edges'}) RETURN c.value AS n")[0]["n"] == 2
