"""Trees of conditions mean in both graphs what they mean in Python: fuzzed, on a catalogue of strange values."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.conditions import All, AnyOf, Condition, Leaf, Not, holds
from kg.graph import selection as selection_of
from kg.graph.cypher.filters import where
from kg.graph.driver import Graph
from kg.graph.selection import Selection, count, ids, members, page, words
from tests.kg.listings import MOMENTS, Listing, conditions, listings

ENTITIES = "UNWIND $keys AS key MERGE (e:Entity {key: key}) SET e.text = key, e.df = 1"
LABELS = ["MATCH (e:Entity) WHERE e.key STARTS WITH 'brand:' SET e:Brand",
          "MATCH (e:Entity) WHERE e.key STARTS WITH 'category:' SET e:Category"]  # fmt: skip
PRODUCTS = """
UNWIND $rows AS row
MERGE (p:Product {id: row.id})
SET p.seller = row.seller, p.price = row.price,
    p.updated_at = CASE WHEN row.updated IS NULL THEN NULL ELSE datetime(row.updated) END
"""
LINK = """
UNWIND $rows AS row MATCH (p:Product {{id: row.id}}), (e:Entity {{key: row.key}}) MERGE (p)-[:{relation}]->(e)
"""


class Reads:
    """A graph that counts what is read of it."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.count = graph, 0

    def read(self, cypher: str, **params: Any) -> list[dict[str, Any]]:
        self.count += 1
        return self.graph.read(cypher, **params)


@pytest.fixture
def shop(graph: Graph) -> tuple[Graph, list[Listing]]:
    found = listings(1, 60)
    graph.write(ENTITIES, keys=sorted(set().union(*(one.linked for one in found))))
    for label in LABELS:
        graph.write(label)
    rows = [
        {"id": one.id, "seller": one.seller, "price": one.price, "updated": one.updated and one.updated.isoformat()}
        for one in found
    ]
    graph.write(PRODUCTS, rows=rows)
    links = {
        "MADE_BY": [(one.id, one.brand) for one in found if one.brand],
        "IN_CATEGORY": [(one.id, one.category) for one in found if one.category],
        "HAS_ENTITY": [(one.id, key) for one in found for key in one.entities],
    }
    for relation, pairs in links.items():
        graph.write(LINK.format(relation=relation), rows=[{"id": id, "key": key} for id, key in pairs])
    return graph, found


def test_any_tree_is_brute_force(shop: tuple[Graph, list[Listing]]) -> None:
    graph, found = shop
    known = sorted(one.id for one in found)
    examples = 100 if graph.at.http else 20  # Neo4j plans each new statement, which takes longer than running it

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(conditions(known, patterns=True), st.lists(st.sampled_from([*known, "nobody"]), max_size=9))
    def check(condition: Condition, some: list[str]) -> None:
        selection = Selection(more=(condition,))
        admitted = sorted(one.id for one in found if holds(condition, one.passes))
        assert ids(graph, selection) == admitted, where(selection.tree)
        assert count(graph, selection, 7) == min(7, len(admitted))
        assert page(graph, selection, 5) == admitted[:5]
        assert members(graph, selection, some) == set(some) & set(admitted)

    check()


def test_what_lacks_a_value_passes_not(shop: tuple[Graph, list[Listing]]) -> None:
    graph, found = shop
    leaves = {
        "price": Leaf("max_price", 1e12),
        "seller": Leaf("sellers", sorted({one.seller for one in found if one.seller is not None})),
        "updated": Leaf("updated_since", MOMENTS[0].isoformat()),
    }
    for name, leaf in leaves.items():
        without = sorted(one.id for one in found if getattr(one, name) is None)
        assert without
        assert ids(graph, Selection(more=(Not(leaf),))) == without
        assert ids(graph, Selection(more=(Not(AnyOf((leaf, leaf))),))) == without
        assert ids(graph, Selection(more=(Not(Not(Not(All((leaf, leaf))))),))) == without


def test_words_are_asked_for_until_enough_of_them_are_admitted(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_of, "LEAST_WORDS", 4)
    rows = [
        {"id": f"p{number:02}", "title": "oak stool oak" if number in (7, 31) else "oak board", "price": float(number)}
        for number in range(40)
    ]
    graph.write(
        "UNWIND $rows AS row MERGE (p:Product {id: row.id}) SET p.title = row.title, p.price = row.price", rows=rows
    )
    everything, dear, none = Selection(), Selection(asked={"min_price": 30.0}), Selection(asked={"min_price": 99.0})

    assert [id for id, _ in words(graph, everything, "stool", 9)] == ["p07", "p31"]
    assert len(words(graph, everything, "oak", 9)) == 9
    assert words(graph, none, "oak", 9) == []
    assert words(graph, dear, "elm", 9) == []
    inside = words(graph, dear, "oak", 99)
    assert {id for id, _ in inside} == {f"p{number}" for number in range(30, 40)}
    assert inside == sorted(inside, key=lambda one: (-one[1], one[0]))
    for few in (1, 2, 5, 9, 10, 11):
        reads = Reads(graph)
        found = words(reads, dear, "oak", few)  # type: ignore[arg-type]
        assert 1 <= reads.count <= 3
        assert len(found) == min(few, 10)
        assert set(found) <= set(inside)
    for few in (1, 2, 5):  # a shorter list is the beginning of a longer one, in the order of the index
        assert set(words(graph, dear, "oak", few)) <= set(words(graph, dear, "oak", 2 * few))
    graph.write("CREATE (:Entity:Brand {key: 'brand:oakley', text: 'Oakley', type: 'brand'})")
    graph.write(
        "MATCH (b:Entity {key: 'brand:oakley'}) MATCH (p:Product) WHERE p.price % 3 = 0 CREATE (p)-[:MADE_BY]->(b)"
    )
    every = words(graph, everything, "oak stool", 40)  # the two stools before all others
    assert {id for id, _ in every[:2]} == {"p07", "p31"}
    assert every[1][1] > every[2][1]
    graph.write("MATCH (b:Entity {key: 'brand:oakley'}) MATCH (p:Product {id: 'p31'}) CREATE (p)-[:MADE_BY]->(b)")
    branded = Selection(asked={"brands": ["brand:oakley"]})
    near = Selection(asked={"near": ["brand:oakley"], "min_price": 3.0})
    for selection in (branded, near):  # looked up in the graph for each, and the order of the index still stands
        assert [id for id, _ in words(graph, selection, "oak stool", 1)] == ["p31"]
        assert words(graph, selection, "oak stool", 3)[0][0] == "p31"
    rare = Reads(graph)
    assert [id for id, _ in words(rare, dear, "stool", 9)] == ["p31"]  # type: ignore[arg-type]
    assert rare.count <= 3
    assert [id for id, _ in words(graph, dear, "oak stool", 1)] == ["p31"]


def test_values_are_parameters_numbered_by_leaf() -> None:
    cheap, seller = Leaf("max_price", 5.0), Leaf("sellers", ["$max_price"])
    text, parameters = where(All((seller, Not(AnyOf((cheap, seller))))))
    assert text == (
        "(p.seller IN $sellers_0) AND (NOT coalesce((p.price <= $max_price_1) OR (p.seller IN $sellers_2), false))"
    )
    assert parameters == {"sellers_0": ["$max_price"], "max_price_1": 5.0, "sellers_2": ["$max_price"]}
    assert where(All()) == ("", {})


def test_products_that_are_removed_meanwhile_are_no_failure(graph: Graph) -> None:
    """The embedded engine stops at a record that another transaction has just removed: all ids are asked for anew."""
    write = "UNWIND range(1, 30) AS n MERGE (p:Product {id: $round + '-' + toString(n)}) SET p.price = 5.0"
    remove = "MATCH (p:Product) WHERE NOT p.id STARTS WITH $round + '-' DETACH DELETE p"
    selection, over = Selection(asked={"min_price": 1.0}), threading.Event()
    graph.write(write, round="0")

    def change() -> None:
        try:
            for number in range(60):
                graph.write(write, round=str(number))
                graph.write(remove, round=str(number))
        finally:
            over.set()

    def look() -> int:
        least = 30
        while not over.is_set():
            least = min(least, len(ids(graph, selection)))
        return least

    with ThreadPoolExecutor(4) as threads:
        looking = [threads.submit(look) for _ in range(3)]
        threads.submit(change).result()
        assert [one.result() > 0 for one in looking] == [True] * 3
