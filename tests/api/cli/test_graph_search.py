"""`skugraph search --graph` as users run it."""

from __future__ import annotations

from kg.stores import Stores
from tests.api.cli.run import answer, skugraph
from tests.shop import put

NEAR = """
MATCH (a:Entity {key: 'colour:amber'}), (b:Entity {key: 'colour:honey'})
SET a.df = 1, b.df = 1 CREATE (a)-[s:SIMILAR_TO]->(b) SET s.weight = 0.82, s.source = 'text'
"""


def test_the_entity_graph_widens_a_search_and_says_how(stores: Stores) -> None:
    put(stores.graph, "p0", title="Candle", colour="amber")
    put(stores.graph, "p1", title="Jar", colour="honey")
    put(stores.graph, "p2", title="Soap")
    stores.graph.write(NEAR)
    steps = ("--hops", "1", "--min-weight", "0.5")
    reply = answer("search", "amber", "--graph", "widen", *steps, settings=stores.settings)
    assert [hit["product"]["id"] for hit in reply["hits"]] == ["p0", "p1"]
    assert [one["key"] for one in reply["entities"]] == ["colour:amber"]
    said = skugraph("search", "amber", "--graph", "widen", *steps, "--explain", settings=stores.settings)
    assert said.returncode == 0, said.stderr
    assert "graph: 'amber' —0.82 text→ 'honey'" in said.stdout
    assert "colour:honey -SIMILAR_TO-> colour:amber (0.82 text)" in said.stdout
    assert "colour:amber -ASKED-> amber (1.00 mention)" in said.stdout
    assert "the text means colour:amber (1.00 mention)" in said.stdout + said.stderr
    narrow = answer("search", "candle or jar", "--graph", "narrow", settings=stores.settings)
    assert [hit["product"]["id"] for hit in narrow["hits"]] == ["p0", "p1"]
    assert "nothing is narrowed" in narrow["notes"][-1]


def test_bad_use_is_status_2(stores: Stores) -> None:
    for args, says in (
        (("x", "--graph", "wide"), "'off', 'narrow' or 'widen'"),
        (("x", "--graph", "widen", "--hops", "7"), "graph.hops"),
        (("--like", "p0", "--graph", "narrow"), "needs text"),
    ):
        done = skugraph("search", *args, settings=stores.settings)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
