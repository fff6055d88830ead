"""Names into keys, and the Cypher pattern, on both graph engines."""

from __future__ import annotations

import pytest

from kg.conditions import NOTHING, All, AnyOf, Leaf, Not, leaves
from kg.errors import BadFilter, BadQuery, TooLarge
from kg.filters import Filters
from kg.graph.cypher import filters as cypher
from kg.graph.driver import Graph
from kg.graph.resolving import select
from kg.graph.selection import Selection, ids, members

ENTITIES = """
UNWIND $rows AS row MERGE (e:Entity {key: row[0]}) SET e.type = row[1], e.text = row[2], e.df = 1
"""
TREE = "UNWIND $rows AS row MATCH (a:Entity {key: row[0]}), (b:Entity {key: row[1]}) MERGE (a)-[:CHILD_OF]->(b)"
SIMILAR = """
UNWIND $rows AS row MATCH (a:Entity {key: row[0]}), (b:Entity {key: row[1]})
MERGE (a)-[s:SIMILAR_TO]->(b) SET s.weight = row[2]
"""


@pytest.fixture
def shop(graph: Graph) -> Graph:
    rows = [
        ("brand:aurora", "brand", "Aurora"),
        ("scent:aurora", "scent", "Aurora"),
        ("ratio:3:5", "ratio", "3:5"),
        ("size:5", "size", "5"),
        ("category:home", "category", "Home"),
        ("category:home > candles", "category", "Candles"),
        ("category:home > candles > scented", "category", "Scented"),
        ("category:gifts > candles", "category", "Candles"),
        ("category:bits>bobs", "category", "Bits>Bobs"),
        ("a:1", "a", "1"),
        ("a:2", "a", "2"),
        ("a:3", "a", "3"),
        ("a:4", "a", "4"),
    ]
    graph.write(ENTITIES, rows=[list(row) for row in rows])
    graph.write("MATCH (e:Entity {type: 'category'}) SET e:Category")
    graph.write("MATCH (e:Entity {type: 'brand'}) SET e:Brand")
    home, candles = "category:home", "category:home > candles"
    graph.write(TREE, rows=[[candles, home], [f"{candles} > scented", candles]])
    graph.write(SIMILAR, rows=[["a:1", "a:2", 0.9], ["a:2", "a:4", 0.8], ["a:1", "a:3", 0.7], ["a:4", "a:3", 0.95]])
    graph.write("UNWIND range(0, 9) AS n CREATE (:Product {id: 'p' + n})")
    return graph


def resolved(graph: Graph, max_ids: int = 100, **fields: object) -> Selection:
    return select(graph, Filters.model_validate(fields), max_ids=max_ids, timeout_s=10)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("home", ["category:home", "category:home > candles", "category:home > candles > scented"]),
        ("category:home > candles", ["category:home > candles", "category:home > candles > scented"]),
        ("Home>Candles", ["category:home > candles", "category:home > candles > scented"]),
        ("Candles", ["category:gifts > candles", "category:home > candles", "category:home > candles > scented"]),
        ("candles > SCENTED", ["category:home > candles > scented"]),
        ("category:Home>Candles", ["category:home > candles", "category:home > candles > scented"]),
        ("category:bits>bobs", ["category:bits>bobs"]),
        ("Bits>Bobs", ["category:bits>bobs"]),
        ("andles", []),
    ],
)
def test_a_category_is_meant_with_all_below(shop: Graph, name: str, keys: list[str]) -> None:
    assert resolved(shop, category=name).asked == {"categories": keys}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("aurora", ["brand:aurora", "scent:aurora"]),
        ("brand:Aurora", ["brand:aurora"]),
        ("3:5", ["ratio:3:5"]),
        ("5", ["size:5"]),
        ("Scented", ["category:home > candles > scented"]),
        ("nothing", []),
    ],
)
def test_an_entity_is_a_key_or_a_text(shop: Graph, name: str, keys: list[str]) -> None:
    assert resolved(shop, entity=name).asked == {"entities": keys}


def test_near_takes_the_shortest_way_and_of_those_the_strongest(shop: Graph) -> None:
    assert sorted(resolved(shop, near="a:1").reach) == ["a:1", "a:2", "a:3"]
    reach = resolved(shop, near="a:1", hops=2).reach
    assert {key: reach[key].via for key in reach} == {"a:1": None, "a:2": "a:1", "a:3": "a:1", "a:4": "a:2"}
    assert reach["a:4"].strength == pytest.approx(0.72)
    assert sorted(resolved(shop, near="a:1", hops=4, min_weight=0.75).reach) == ["a:1", "a:2", "a:3", "a:4"]
    assert sorted(resolved(shop, near="a:1", hops=2, min_weight=0.85).reach) == ["a:1", "a:2"]
    assert sorted(resolved(shop, near="a:1", hops=0).reach) == ["a:1"]


def test_a_name_that_nothing_bears_admits_nothing(shop: Graph) -> None:
    for fields in ({"brand": "x"}, {"category": "x"}, {"entity": "x"}, {"near": "x"}):
        selection = resolved(shop, **fields)
        assert selection.nothing
        assert selection.notes
        assert ids(shop, selection) == []
        assert members(shop, selection, ["p1"]) == set()


def test_a_pattern_gives_product_ids(shop: Graph) -> None:
    pattern = "MATCH (p:Product) WHERE p.id < 'p3' RETURN p.id"
    assert ids(shop, resolved(shop, cypher=pattern)) == ["p0", "p1", "p2"]
    assert members(shop, resolved(shop, cypher=pattern), ["p2", "p3", "px"]) == {"p2"}
    twice = "UNWIND ['p1', 'p1'] AS id RETURN id"
    assert ids(shop, resolved(shop, cypher=twice)) == ["p1"]
    assert resolved(shop, cypher="MATCH (p:Product {id: 'nobody'}) RETURN p.id").nothing
    assert len(ids(shop, resolved(shop, cypher="MATCH (p:Product) RETURN p.id", max_ids=10))) == 10


def test_a_pattern_above_the_limit_is_refused_not_cut(shop: Graph) -> None:
    with pytest.raises(TooLarge, match="more than 9 rows"):
        resolved(shop, cypher="MATCH (p:Product) RETURN p.id", max_ids=9)


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("MATCH (p:Product) RETURN p", BadFilter, "product ids are text"),
        ("MATCH (p:Product) RETURN p.nothing", BadFilter, "returns None: product ids are text"),
        ("MATCH (p:Product) RETURN p.id, p.title", BadFilter, "returns p.id, p.title: it must"),
        ("RETURN 'p1x' AS id", BadFilter, "returns 'p1x', which is no product id"),
        ("MATCH (p:Product) SET p.price = 0 RETURN p.id", BadQuery, "SET"),
        ("MATCH (p:Product) WHERE RETURN p.id", BadQuery, "failed"),
    ],
)
def test_a_bad_pattern_is_refused(shop: Graph, pattern: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resolved(shop, cypher=pattern)
    assert shop.read("MATCH (p:Product) WHERE p.price = 0 RETURN p") == []


BRAND, SCENT, NEAR = Leaf("brands", ["brand:aurora"]), Leaf("entities", ["scent:aurora"]), Leaf("near", ["a:1", "a:2"])


def test_filters_within_filters_become_a_tree_of_leaves_that_know_their_place(shop: Graph) -> None:
    asked = {
        "brand": "Aurora",
        "any": [{"entity": "scent:aurora"}, {"not": {"near": "a:1", "min_weight": 0.8}}],
        "not": [{"max_price": 5, "seller": "x"}, {"min_price": 7}],
    }
    selection = resolved(shop, **asked)
    assert selection.asked == {"brands": ["brand:aurora"]}
    cheap, dear = All((Leaf("sellers", ["x"]), Leaf("max_price", 5.0))), Leaf("min_price", 7.0)
    assert selection.tree == All((BRAND, AnyOf((SCENT, Not(NEAR))), Not(AnyOf((cheap, dear)))))
    found = {leaf.place: leaf for leaf in leaves(selection.tree)}
    assert list(found) == [
        "brand", "any.0.entity", "any.1.not.near", "not.0.seller", "not.0.max_price", "not.1.min_price"
    ]  # fmt: skip
    assert found["any.1.not.near"].reach["a:2"].via == "a:1"
    assert selection.texts["scent:aurora"] == "Aurora"


def test_a_name_that_nothing_bears_admits_all_where_it_is_not_wanted(shop: Graph) -> None:
    selection = resolved(shop, **{"not": {"brand": "nobody"}})
    assert selection.everything
    assert selection.notes == ("no brand 'nobody' in the graph",)
    assert len(ids(shop, selection)) == 10
    assert resolved(shop, any=[{"brand": "nobody"}, {"seller": "x", "entity": "nobody"}]).tree == NOTHING
    assert resolved(shop, any=[{"brand": "nobody"}, {"brand": "Aurora"}]).tree == BRAND


@pytest.mark.parametrize(
    ("asked", "start", "values"),
    [
        ({"not": {"brand": "Aurora"}}, cypher.START_ALL, ()),
        ({"any": [{"brand": "Aurora"}, {"max_price": 5}]}, cypher.START_ALL, ()),
        ({"any": [{"brand": "Aurora"}, {"seller": "x"}]}, cypher.START_ALL, ()),
        ({"any": [{"brand": "Aurora"}, {"not": {"near": "a:1"}}]}, cypher.START_ALL, ()),
        ({"any": [{"brand": "Aurora"}, {"entity": "size:5"}]}, cypher.START_ENTITIES, ("brand:aurora", "size:5")),
        ({"all": [{"near": "a:1"}, {"brand": "Aurora"}]}, cypher.START_ENTITIES, ("brand:aurora",)),
        ({"any": [{"near": "a:1", "brand": "Aurora"}, {"entity": "5"}]}, cypher.START_ENTITIES,
         ("brand:aurora", "size:5")),
        ({"seller": "y", "any": [{"seller": "x"}]}, cypher.START_SELLERS, ("y",)),
        ({"any": [{"seller": "x"}, {"seller": ["y", "x"]}]}, cypher.START_SELLERS, ("x", "y")),
        ({"seller": "x", "not": {"not": {"brand": "Aurora"}}}, cypher.START_ENTITIES, ("brand:aurora",)),
    ],
)  # fmt: skip
def test_the_graph_begins_where_every_product_must_be(
    shop: Graph, asked: dict[str, object], start: str, values: tuple[str, ...]
) -> None:
    selection = resolved(shop, **asked)
    assert (selection.start, selection.start_values) == (start, values)


def test_patterns_within_a_tree(shop: Graph) -> None:
    low, high = ("MATCH (p:Product) WHERE p.id < 'p3' RETURN p.id", "MATCH (p:Product) WHERE p.id > 'p1' RETURN p.id")
    both = resolved(shop, any=[{"cypher": low}, {"cypher": "UNWIND ['p7'] AS id RETURN id"}])
    assert ids(shop, both) == ["p0", "p1", "p2", "p7"]
    assert (both.start, both.start_values) == (cypher.START_IDS, ("p0", "p1", "p2", "p7"))
    assert ids(shop, resolved(shop, cypher=low, **{"not": {"cypher": high}})) == ["p0", "p1"]
    assert ids(shop, resolved(shop, **{"not": {"cypher": high}})) == ["p0", "p1"]


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("RETURN 'p1x' AS id", BadFilter, "filter any.1.not.cypher returns 'p1x', which is no product id"),
        ("MATCH (p:Product) DELETE p", BadQuery, "filter any.1.not.cypher: "),
        ("MATCH (p:Product) RETURN p.id", TooLarge, "filter any.1.not.cypher returns more than 9 rows"),
    ],
)
def test_a_bad_pattern_is_refused_by_its_place(shop: Graph, pattern: str, error: type[BadFilter], message: str) -> None:
    with pytest.raises(error, match=message) as refusal:
        resolved(shop, max_ids=9, any=[{"max_price": 1}, {"not": {"cypher": pattern}}])
    assert refusal.value.detail["field"] == "any.1.not.cypher"
