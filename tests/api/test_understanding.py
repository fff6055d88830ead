"""Entities that texts mean, and the routes that show them and what lies around them, on both graph engines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from api import understanding
from api.app import create_app
from api.entity_space import EntitySpace
from api.understanding import NO_VECTORS, EntityFinder
from kg import entity_vectors
from kg.graph.neighbourhood import around, edges_between
from kg.records import entity_key
from kg.stores import Stores
from tests.api.test_app import HERE, refused
from tests.tiny_encoder import TinyEncoder

ENTITY = """
UNWIND $rows AS row MERGE (e:Entity {key: row.key})
SET e.type = row.type, e.text = row.text, e.df = 3, e.path = row.path
"""
EDGE = """
UNWIND $rows AS row MATCH (a:Entity {key: row.a}), (b:Entity {key: row.b})
CREATE (a)-[s:SIMILAR_TO]->(b) SET s.weight = row.weight, s.source = row.source, s.generation = 'g1'
"""
GONE = "MATCH (e:Entity {key: $key}) DETACH DELETE e"
ODD = [
    "a/b",
    "100% wool",
    "x: y",
    "\"quoted\" 'text' \\ back",
    "🕯 candle",
    "ends/neighbourhood",
    "名前",
    "a?b=c&d#e",
    "..",
    "a > b",
]
NAMED = [
    ("colour", "Green"),
    ("colour", "rose gold"),
    ("colour", "Rose"),
    ("material", "glass"),
    ("phrase", "green tea"),
    ("phrase", "water bottle"),
    ("phrase", "steel water bottle"),
    ("brand", "Green"),
    ("phrase", "绿色 瓶"),
    ("phrase", "玻璃瓶"),
]


def entities(stores: Stores, *named: tuple[str, str]) -> list[str]:
    keys = [entity_key(kind, text) for kind, text in named]
    rows = [
        {"key": key, "type": kind, "text": text, "path": None} for key, (kind, text) in zip(keys, named, strict=True)
    ]
    stores.graph.write(ENTITY, rows=rows)
    return keys


def edges(stores: Stores, *made: tuple[str, str, float, str]) -> None:
    names = ("a", "b", "weight", "source")
    stores.graph.write(EDGE, rows=[dict(zip(names, edge, strict=True)) for edge in made])


@pytest.fixture
def api(stores: Stores) -> Iterator[TestClient]:
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "means"),
    [
        (
            "Something GREEN, in glass!",
            {"colour:green": "mention", "brand:green": "mention", "material:glass": "mention"},
        ),
        ("a rose gold ring", {"colour:rose gold": "mention"}),
        ("bottle for water", {"phrase:water bottle": "words", "phrase:steel water bottle": "words"}),
        ("the with of", {}),
        ("évergreen glasses", {}),
        ("全新玻璃瓶包邮", {"phrase:玻璃瓶": "mention"}),
        ("ＧＬＡＳＳ", {"material:glass": "mention"}),
        ('AND OR NOT +(glass)* ~"', {"material:glass": "mention"}),
        ("  \n ", {}),
        (" ".join(f"w{n}" for n in range(60)) + " glass", {}),
    ],
)
def test_what_a_text_means(stores: Stores, text: str, means: dict[str, str]) -> None:
    entities(stores, *NAMED)
    understood = EntityFinder(stores).find(text)
    assert {one.key: one.how for one in understood.found} == means
    assert [one.score for one in understood.found] == sorted((one.score for one in understood.found), reverse=True)


def test_types_and_how_many(stores: Stores) -> None:
    entities(stores, *NAMED)
    finder = EntityFinder(stores)
    assert [one.key for one in finder.find("green glass", types=["Colour", "phrase"]).found] == ["colour:green"]
    assert len(finder.find("green glass", most=1).found) == 1
    assert finder.find("green").notes == (NO_VECTORS,)


def test_new_types_are_learnt_beside_the_searches(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first search waits for the walk over all entities, and none is made where nothing has changed."""
    entities(stores, ("colour", "Green"))
    walks = []
    look = EntityFinder._look
    monkeypatch.setattr(EntityFinder, "_look", lambda self: walks.append(threading.current_thread()) or look(self))
    monkeypatch.setattr(understanding, "KNOWN_S", 0.0)
    finder = EntityFinder(stores)
    for _ in range(3):
        assert [one.key for one in finder.find("green jar").found] == ["colour:green"]
        settled(finder)
    assert walks == [threading.current_thread()], "nothing has changed"
    entities(stores, ("shape", "jar"))
    stores.graph.write("MERGE (c:Counter {name: 'revision'}) SET c.value = 1")
    finder.find("green jar")
    settled(finder)
    assert finder._remembered().kinds == ("colour", "shape")
    assert len(walks) == 2
    assert walks[1] is not threading.current_thread()


def settled(finder: EntityFinder) -> None:
    while (renewing := finder._renewing) is not None:
        renewing.join(10)


def test_vectors_find_what_no_word_does(stores: Stores) -> None:
    keys = entities(stores, ("phrase", "flacon"), ("phrase", "gone"), ("colour", "green"))
    encoder = TinyEncoder()
    texts = ["phial vessel", "phial vessel", "green"]  # a space in which a phial is a flacon
    entity_vectors.write(
        stores,
        fingerprint=encoder.fingerprint,
        encoder_path="/tiny",
        keys=keys,
        types=["phrase", "phrase", "colour"],
        vectors=encoder.encode_texts(texts),
        edges_at=1,
    )
    stores.graph.write(GONE, key="phrase:gone")
    finder = EntityFinder(stores, EntitySpace(stores, lambda _: encoder).near)
    understood = finder.find("green phial vessel")
    assert [(one.key, one.how, one.words) for one in understood.found] == [
        ("colour:green", "mention", "green"),
        ("phrase:flacon", "vector", "phial vessel"),
    ]
    assert (understood.found[1].score, understood.notes) == (pytest.approx(1, abs=1e-5), ())
    other = EntityFinder(stores, EntitySpace(stores, lambda _: TinyEncoder(seed=8)).near).find("green phial")
    assert [one.key for one in other.found] == ["colour:green"]
    assert "the entity vectors were made with" in other.notes[0]


def test_ways_are_the_strongest_and_bounded(stores: Stores) -> None:
    names = ["a", "b", "c", "d", "e"]
    a, b, c, d, e = entities(stores, *[("x", name) for name in names])
    edges(
        stores,
        (a, b, 0.5, "text"),
        (a, c, 0.9, "visual"),
        (b, c, 0.8, "text"),
        (c, d, 1.0, "text"),
        (d, a, 0.1, "text"),
    )
    edges(stores, (a, b, 0.6, "cooccurrence"), (a, a, 1.0, "text"), (e, a, 0.2, "text"))
    there = around(stores.graph, {a: 1.0}, hops=2, min_weight=0.15, most=10)
    assert {key: way.strength for key, way in there.ways.items()} == pytest.approx(
        {a: 1, c: 0.9, d: 0.9, b: 0.72, e: 0.2}
    )
    assert [(s.source, s.target, s.origin) for s in there.ways[b].steps] == [(b, c, "text"), (c, a, "visual")]
    one = around(stores.graph, {a: 1.0}, hops=1, min_weight=0, most=10)
    assert {key: way.strength for key, way in one.ways.items()} == pytest.approx({a: 1, c: 0.9, b: 0.6, e: 0.2, d: 0.1})
    assert one.ways[b].steps[0].origin == "cooccurrence"
    assert list(around(stores.graph, {a: 1.0}, hops=4, min_weight=0, most=3).ways) == [a, c, d]
    assert list(around(stores.graph, {"x:none": 1.0, b: 0.5}, hops=0, min_weight=0, most=9).ways) == [b]
    stores.graph.write(GONE, key=c)
    assert [row["source"] for row in edges_between(stores.graph, one.ways, min_weight=0.15, limit=99)] == [a, a, a, e]


def test_the_neighbourhood_of_an_entity(api: TestClient, stores: Stores) -> None:
    a, b, c = entities(stores, ("colour", "Amber"), ("colour", "Honey"), ("colour", "Beeswax"))
    edges(stores, (a, b, 0.8, "text"), (a, b, 0.6, "visual"), (b, c, 0.7, "text"), (a, c, 0.2, "cooccurrence"))
    reply = api.get(f"/v1/entities/{a}/neighbourhood").json()
    assert [(node["key"], node["hops"], node["df"]) for node in reply["nodes"]] == [(a, 0, 3), (b, 1, 3), (c, 1, 3)]
    assert [(edge["weight"], edge["origin"]) for edge in reply["edges"]] == [
        (0.8, "text"),
        (0.7, "text"),
        (0.6, "visual"),
        (0.2, "cooccurrence"),
    ]
    assert {edge["generation"] for edge in reply["edges"]} == {"g1"}
    stores.graph.write("MATCH (:Entity)-[s:SIMILAR_TO]->(:Entity) WHERE s.weight = 0.6 SET s.source = null")
    edge = api.get(f"/v1/entities/{a}/neighbourhood").json()["edges"][2]
    assert (edge["weight"], edge["origin"]) == (0.6, "")  # written by hand
    far = api.get(f"/v1/entities/{a}/neighbourhood", params={"hops": 2, "min_weight": 0.5}).json()
    assert [(node["key"], node["hops"]) for node in far["nodes"]] == [(a, 0), (b, 1), (c, 2)]
    assert far["nodes"][2]["strength"] == pytest.approx(0.56)
    few = api.get(f"/v1/entities/{a}/neighbourhood", params={"limit": 2}).json()
    assert ([node["key"] for node in few["nodes"]], len(few["edges"])) == ([a, b], 2)
    for bad in ({"hops": 5}, {"hops": -1}, {"min_weight": 2}, {"limit": 0}, {"hops": "x"}):
        refused(api.get(f"/v1/entities/{a}/neighbourhood", params=bad), 400, "bad-input")
    stores.graph.write(GONE, key=a)
    refused(api.get(f"/v1/entities/{a}/neighbourhood"), 404, "not-found")


def test_any_key_has_an_address(api: TestClient, stores: Stores) -> None:
    keys = entities(stores, *[("phrase", text) for text in ODD])
    for key in keys:
        path = f"/v1/entities/{quote(key, safe='')}"
        if not key.endswith("/neighbourhood"):  # that address is its neighbourhood's; `find` and filters still know it
            answer = api.get(path)
            assert (answer.status_code, answer.json()["key"]) == (200, key)
        assert [node["key"] for node in api.get(f"{path}/neighbourhood").json()["nodes"]] == [key]
    found = api.get("/v1/entities:find", params={"text": "an a/b of 100% wool, ends/neighbourhood"}).json()
    assert {one["key"] for one in found["entities"]} >= {"phrase:a/b", "phrase:100% wool", "phrase:ends/neighbourhood"}


def test_finding_by_rest(api: TestClient, stores: Stores, tmp_path: Path) -> None:
    entities(stores, *NAMED)
    reply = api.get("/v1/entities:find", params={"text": "green glass", "type": "colour"}).json()
    assert [(one["key"], one["how"], one["words"], one["score"]) for one in reply["entities"]] == [
        ("colour:green", "mention", "green", 1.0)
    ]
    assert reply["notes"] == [NO_VECTORS]
    refused(api.get("/v1/entities:find", params={"text": " "}), 400, "bad-input")
    refused(api.get("/v1/entities:find"), 400, "bad-input")
    refused(api.get("/v1/entities:find", params={"text": "x" * 3000}), 400, "bad-input")
