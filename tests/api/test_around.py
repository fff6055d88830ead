"""Searches that the entities of the text narrow or widen, over a small shop, on both graph engines."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from api.models import SearchReply, SearchRequest
from api.search import Searcher
from api.understanding import NO_VECTORS
from encoders import load
from kg.errors import BadInput
from kg.graph.neighbourhood import GRAIN
from kg.stores import Stores
from tests.api.test_search import embed
from tests.shop import put, remove
from tests.tiny_encoder import write_tiny

NEAR = """
MATCH (a:Entity {key: $a}), (b:Entity {key: $b}) CREATE (a)-[s:SIMILAR_TO]->(b) SET s.weight = $weight, s.source = $of
"""
DF = """
MATCH (e:Entity) OPTIONAL MATCH (p:Product)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e) WITH e, count(p) AS n SET e.df = n
"""
LINK = """
MATCH (p:Product {id: $id}), (e:Entity {key: $key}) CREATE (p)-[r:HAS_ENTITY]->(e) SET r.source = 'caption'
"""
CIRCLE = """
MATCH (leaf:Entity {key: 'category:home > candles'}), (home:Entity {key: 'category:home'})
CREATE (home)-[:CHILD_OF]->(leaf)
"""
COLOURS = ["amber", "honey", "beeswax", "ivory", "blue", "rose gold", "rose", ""]


@pytest.fixture
def shop(stores: Stores, tmp_path: Path) -> Stores:
    """p0 to p7 of one colour each but the last; amber ~ honey ~ beeswax, amber ~ blue by what is bought together."""
    for n, colour in enumerate(COLOURS):
        put(stores.graph, f"p{n}", title=f"Thing {n}", price=10.0 * n + 5, colour=colour)
    stores.graph.write(NEAR, a="colour:amber", b="colour:honey", weight=0.82, of="text")
    stores.graph.write(NEAR, a="colour:amber", b="colour:honey", weight=0.55, of="cooccurrence")
    stores.graph.write(NEAR, a="colour:beeswax", b="colour:honey", weight=0.7, of="text")
    stores.graph.write(NEAR, a="colour:amber", b="colour:blue", weight=0.3, of="cooccurrence")
    stores.graph.write(DF)
    return stores


@pytest.fixture
def search(shop: Stores) -> Callable[..., SearchReply]:
    searcher = Searcher(shop, load)
    return lambda **fields: searcher.search(SearchRequest(**fields))


def ids(reply: SearchReply) -> list[str]:
    return [hit.product.id for hit in reply.hits]


def test_off_is_as_if_there_were_no_graph(shop: Stores, search: Callable[..., SearchReply]) -> None:
    reply = search(text="an amber thing")
    assert reply == search(text="an amber thing", graph="off").model_copy(update={"timings_ms": reply.timings_ms})
    assert (reply.entities, "graph" in reply.hits[0].ranks) == ((), False)


def test_narrow_keeps_to_the_entities_and_their_neighbours(shop: Stores, search: Callable[..., SearchReply]) -> None:
    def found(**use: object) -> list[str]:
        return sorted(ids(search(text="an amber thing", graph={"mode": "narrow", **use})))

    assert found(hops=0) == ["p0"]
    assert found() == ["p0", "p1"]
    assert found(hops=2) == ["p0", "p1", "p2"]
    assert found(min_weight=0.9) == ["p0"]
    assert found(min_weight=0.1) == ["p0", "p1", "p4"]
    assert found(hops=2, min_weight=0, most=2) == ["p0", "p1"]
    reply = search(text="an amber thing", graph="narrow")
    assert [(one.key, one.score, one.how, one.words) for one in reply.entities] == [
        ("colour:amber", 1.0, "mention", "amber")
    ]
    assert "narrowed to products linked to 'amber' (colour), or to 1 around it" in reply.notes
    assert sorted(ids(search(text="amber thing", graph="narrow", filters={"min_price": 10}))) == ["p1"]


def test_widen_brings_what_no_word_says(shop: Stores, search: Callable[..., SearchReply]) -> None:
    reply = search(text="amber", graph={"mode": "widen", "hops": 2}, explain=True)
    assert ids(reply) == ["p0", "p1", "p2"]  # no title says amber
    assert reply.explanation is not None
    assert reply.explanation.lists == ("lexical", "graph")
    rarity = math.log(9) / math.log(9)
    gains = [round(way * rarity * GRAIN) / GRAIN for way in (1, 0.82, 0.82 * 0.7)]
    assert [hit.scores["graph"] for hit in reply.hits] == [round(gain, 6) for gain in gains]
    assert [hit.reason for hit in reply.hits] == [
        "graph: 'amber'",
        "graph: 'amber' —0.82 text→ 'honey'",
        "graph: 'amber' —0.82 text→ 'honey' —0.70 text→ 'beeswax'",
    ]
    steps = [(step.source, step.relation, step.target, step.weight, step.origin) for step in reply.hits[2].path]
    assert steps == [
        ("p2", "HAS_ENTITY", "colour:beeswax", None, ""),
        ("colour:beeswax", "SIMILAR_TO", "colour:honey", 0.7, "text"),
        ("colour:honey", "SIMILAR_TO", "colour:amber", 0.82, "text"),
        ("colour:amber", "ASKED", "amber", 1.0, "mention"),
    ]
    assert ids(search(text="amber", graph="widen", filters={"max_price": 10})) == ["p0"]
    assert search(text="amber", graph="widen", weights={"graph": 0}).returned == 0


def test_entities_of_several_words_add_up(shop: Stores, search: Callable[..., SearchReply]) -> None:
    put(shop.graph, "both", title="Thing", colour="blue")
    shop.graph.write(LINK, id="both", key="colour:ivory")
    shop.graph.write(DF)
    reply = search(text="blue or ivory", graph="widen")
    first = reply.hits[0]
    assert (first.product.id, first.ranks["graph"]) == ("both", 1)
    assert first.scores["graph"] > 1.3 * reply.hits[1].scores["graph"]
    assert first.reason == "graph: 'blue', 'ivory'"


def test_a_category_stands_for_all_below_it_even_in_a_circle(shop: Stores, search: Callable[..., SearchReply]) -> None:
    shop.graph.write(CIRCLE)
    shop.graph.write("MATCH (e:Category) SET e.type = 'category'")
    for mode in ("narrow", "widen"):
        reply = search(text="home thing", graph=mode)
        assert sorted(ids(reply)) == [f"p{n}" for n in range(8)]
        assert reply.hits[0].reason.startswith("graph: 'Home' → 'Candles'; ")


@pytest.mark.parametrize("text", ["the of and with", "!?", "🕯", "nothing known"])
@pytest.mark.parametrize("mode", ["narrow", "widen"])
def test_text_that_means_nothing_changes_nothing_and_says_so(
    shop: Stores, search: Callable[..., SearchReply], text: str, mode: str
) -> None:
    reply = search(text=text, graph=mode)
    done = {"narrow": "narrowed", "widen": "widened"}[mode]
    assert reply.notes[-1] == f"the text means no entity of the graph: nothing is {done}"
    assert reply.hits == search(text=text).hits


def test_without_entity_vectors_it_works_and_says_so(shop: Stores, search: Callable[..., SearchReply]) -> None:
    reply = search(text="amber", graph="widen")
    assert NO_VECTORS in reply.notes
    assert reply.returned == 2


def test_with_vectors_words_and_a_like(shop: Stores, tmp_path: Path, search: Callable[..., SearchReply]) -> None:
    embed(shop, write_tiny(tmp_path / "tiny"))
    reply = search(text="amber thing", graph="widen", k=8)
    ranks = {hit.product.id: hit.ranks for hit in reply.hits}
    assert set(ranks["p0"]) == {"text-text", "lexical", "graph"}
    assert [ranks[id].get("graph") for id in ("p0", "p1", "p2")] == [1, 2, None]
    reply = search(text="amber", like="p0", graph="narrow")
    assert ids(reply) == ["p1"]
    remove(shop.graph, "p1")
    assert search(text="amber", like="p0", graph="narrow").returned == 0


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("wide", "graph.mode: Input should be 'off', 'narrow' or 'widen'"),
        ({"mode": "widen", "hops": 9}, "graph.hops: Input should be less than or equal to 4"),
        ({"mode": "widen", "hops": -1}, "graph.hops: Input should be greater"),
        ({"mode": "widen", "min_weight": 2}, "graph.min_weight: Input should be less"),
        ({"mode": "widen", "most": 0}, "graph.most"),
        ({"mode": "widen", "depth": 1}, "graph.depth: Extra inputs"),
    ],
)
def test_bad_use_is_refused(use: object, says: str) -> None:
    with pytest.raises(BadInput) as refusal:
        SearchRequest.model_validate({"text": "x", "graph": use})
    assert says in str(refusal.value)


def test_the_graph_needs_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="graph mode 'widen' needs text"):
        SearchRequest.model_validate({"like": "p0", "graph": "widen"})
