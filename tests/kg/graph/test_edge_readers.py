"""Who reads edges meets each neighbour once, however many sources link it, and no cycle of categories is endless."""

from __future__ import annotations

import pytest

from kg.filters import Filters
from kg.graph import selection
from kg.graph.cypher import browse
from kg.graph.cypher import filters as cypher
from kg.graph.driver import Graph
from kg.graph.resolving import select

CREATE = "UNWIND $keys AS key CREATE (:Entity {key: key, text: key, type: split(key, ':')[0], df: 1})"
LINK = """
UNWIND $rows AS row
MATCH (a:Entity {key: row[0]}) MATCH (b:Entity {key: row[1]})
CREATE (a)-[:SIMILAR_TO {source: row[2], weight: row[3]}]->(b)
"""
BELOW = """
UNWIND $rows AS row
MATCH (a:Entity {key: row[0]}) MATCH (b:Entity {key: row[1]})
CREATE (a)-[:CHILD_OF]->(b)
"""
PRODUCT = "MATCH (c:Category {key: $key}) CREATE (:Product {id: $id})-[:IN_CATEGORY]->(c)"


@pytest.fixture
def shop(graph: Graph) -> Graph:
    graph.write(CREATE, keys=["a:1", "a:2", "a:3", "a:4"])
    sources = [("text", 0.7), ("cooccurrence", 0.2), ("visual", 0.9)]
    rows = [["a:1", "a:2", source, weight] for source, weight in sources]
    graph.write(LINK, rows=[*rows, ["a:1", "a:3", "text", 0.8], ["a:3", "a:4", "text", 0.5]])
    return graph


def test_a_neighbour_comes_once_by_its_greatest_weight(shop: Graph) -> None:
    rows = shop.read(browse.NEIGHBOURS, key="a:1", limit=10)
    assert [(row["key"], row["weight"]) for row in rows] == [("a:2", 0.9), ("a:3", 0.8)]
    assert [row["key"] for row in shop.read(browse.NEIGHBOURS, key="a:1", limit=1)] == ["a:2"]
    assert shop.read(browse.NEIGHBOURS, key="a:5", limit=10) == []


def test_neighbours_are_counted_once(shop: Graph) -> None:
    shop.write(LINK, rows=[["a:3", "a:2", "text", 0.5]])
    assert shop.read(browse.BEST_CONNECTED) == [{"key": "a:3", "neighbours": 3}]


def test_near_reaches_over_the_heaviest_edge(shop: Graph) -> None:
    found = select(shop, Filters(near=("a:2",), hops=1, min_weight=0.3), max_ids=10, timeout_s=10)
    assert {key: reach.weight for key, reach in found.reach.items()} == {"a:1": 0.9, "a:2": 1.0}


def test_a_cycle_of_categories_ends(graph: Graph) -> None:
    keys = [f"category:{name}" for name in "abcd"]
    graph.write(CREATE, keys=keys)
    graph.write("MATCH (e:Entity {type: 'category'}) SET e:Category")
    a, b, c, d = keys
    graph.write(BELOW, rows=[[a, b], [b, c], [c, a], [c, b], [d, d], [d, a]])
    graph.write(PRODUCT, id="p1", key=a)
    graph.write(PRODUCT, id="p2", key=d)
    found = select(graph, Filters(category=("category:b",)), max_ids=10, timeout_s=10)
    assert found.asked == {"categories": keys}
    assert selection.ids(graph, found) == ["p1", "p2"]
    everything = select(graph, Filters(), max_ids=10, timeout_s=10)
    facet = selection.facet(graph, everything, cypher.END_CATEGORIES)
    assert {row["key"]: row["n"] for row in facet} == {a: 2, b: 2, c: 2, d: 1}
