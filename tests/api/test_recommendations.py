"""Recommendations on both graph engines: what is like, what goes with it and why, what is left out, what is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.recommendation_models import MAX_VIEWED, RecommendationsReply, RecommendationsRequest, Viewed
from api.recommendations import recommend, weights_of
from api.search import Searcher
from encoders import load
from kg.errors import BadInput, NotFound
from kg.stores import Stores
from tests.api.scenes import data, fill, scene
from tests.api.test_app import HERE, refused
from tests.shop import put

LINK = """
MATCH (p:Product {id: $id}) MERGE (e:Entity:Attribute {key: $key})
SET e.type = $type, e.text = $text, e.df = $df MERGE (p)-[:HAS_ENTITY {source: 'field'}]->(e)
"""
MOVE = """
MATCH (p:Product {id: $id})-[old:IN_CATEGORY]->() DELETE old
WITH p MERGE (c:Entity:Category {key: $key}) SET c.text = $key, c.type = 'category' MERGE (p)-[:IN_CATEGORY]->(c)
"""
SAME = "MATCH (a:Product {id: $a}), (b:Product {id: $b}) MERGE (a)-[:SAME_AS]->(b)"
PAIR = """
MATCH (a:Entity {key: $a}), (b:Entity {key: $b})
MERGE (a)-[s:SIMILAR_TO]->(b) SET s.weight = 0.6, s.source = $source
"""
EVERYTHING = "MATCH (n) OPTIONAL MATCH (n)-[r]->() RETURN count(DISTINCT n) AS nodes, count(r) AS edges"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
Ask = Callable[..., RecommendationsReply]


@pytest.fixture
def shop(stores: Stores, tmp_path: Path) -> Path:
    """Candles p0 to p4 with pictures; p3 and p4 are of other categories. p0 and p3 are of one series; p0 is amber and
    p4 is a holder, which are named together. p1 is another listing of p0."""
    fill(stores, tmp_path)
    graph = stores.graph
    for id, key in (("p3", "category:lamps"), ("p4", "category:holders")):
        graph.write(MOVE, id=id, key=key)
    for id, kind, text in (
        ("p0", "series", "aurora"), ("p3", "series", "aurora"), ("p2", "series", "aurora"),
        ("p0", "colour", "amber"), ("p4", "use", "holder"), ("p0", "size", "10 cm"), ("p4", "size", "10 cm"),
    ):  # fmt: skip
        graph.write(LINK, id=id, key=f"{kind}:{text}", type=kind, text=text, df=2)
    graph.write(PAIR, a="colour:amber", b="use:holder", source="cooccurrence")
    graph.write(SAME, a="p1", b="p0")
    return tmp_path


@pytest.fixture
def ask(stores: Stores) -> Ask:
    searcher = Searcher(stores, load)
    return lambda **fields: recommend(searcher, RecommendationsRequest(**fields), now=NOW)


def ids(items: Any) -> list[str]:
    return [item.product.id for item in items]


def test_what_is_like_and_what_goes_with_it(shop: Path, ask: Ask) -> None:
    reply = ask(viewed=[{"id": "p0"}], diversity=0)
    assert set(ids(reply.similar)) == {"p2", "p3", "p4"}  # without p0, and without p1, which is p0
    assert {one.because for one in reply.similar} == {"p0"}
    assert all(one.reason.startswith("is like p0: ") for one in reply.similar)
    assert reply.similar[0].score == 1.0
    assert [one.rank for one in reply.similar] == [1, 2, 3]

    assert ids(reply.complementary) == ["p3", "p4"]  # p2 is of the series too, but a candle
    first, second = reply.complementary
    assert first.reason == "shares series 'aurora' with p0"
    assert [(s.source, s.relation, s.target) for s in first.path] == [
        ("p0", "HAS_ENTITY", "series:aurora"),
        ("p3", "HAS_ENTITY", "series:aurora"),
    ]
    assert second.reason == "has 'holder', which is named together with 'amber' of p0 (0.60)"
    assert [(s.source, s.relation, s.target, s.weight) for s in second.path] == [
        ("p0", "HAS_ENTITY", "colour:amber", None),
        ("colour:amber", "SIMILAR_TO", "use:holder", 0.6),
        ("p4", "HAS_ENTITY", "use:holder", None),
    ]
    assert first.scores["graph"] > second.scores["graph"]


def test_only_co_occurrence_makes_a_pair(shop: Path, stores: Stores, ask: Ask) -> None:
    stores.graph.write("MATCH (:Entity)-[s:SIMILAR_TO]->(:Entity) SET s.source = 'text'")
    assert ids(ask(viewed=[{"id": "p0"}]).complementary) == ["p3"]


def test_weights_and_filters(shop: Path, ask: Ask) -> None:
    both = ask(viewed=[{"id": "p0", "weight": 9}, {"id": "p4", "weight": 1}], diversity=0)
    assert set(ids(both.similar)) == {"p2", "p3"}
    assert both.similar[0].because == "p0"
    cheap = ask(viewed=[{"id": "p0"}], filters={"max_price": 40})
    assert ids(cheap.complementary) == ["p3"]
    assert set(ids(cheap.similar)) == {"p2", "p3"}
    assert ids(ask(viewed=[{"id": "p0"}], k=1).complementary) == ["p3"]
    only_left_out = ask(viewed=[{"id": "p0"}, {"id": "p3", "weight": 0}])
    assert "p3" not in ids(only_left_out.similar) + ids(only_left_out.complementary)


def test_many_listings_of_one_product_leave_room_for_others(stores: Stores, ask: Ask) -> None:
    for number in range(30):  # of the same series: a bed, 27 listings of one lamp, two other lamps of a lesser tie
        id = f"n{number:02}"
        put(stores.graph, id, price=10.0)
        stores.graph.write(MOVE, id=id, key="category:lamps" if number else "category:beds")
        stores.graph.write(LINK, id=id, key="series:kura", type="series", text="kura", df=30)
        if 2 <= number < 28:
            stores.graph.write(SAME, a=id, b="n01")
    for number in range(28):
        stores.graph.write(LINK, id=f"n{number:02}", key="colour:red", type="colour", text="red", df=28)
    found = ids(ask(viewed=[{"id": "n00"}], k=3).complementary)
    assert len(found) == 3
    assert {"n28", "n29"} < set(found)


def test_a_small_largest_k_holds_for_what_is_asked_not_for_what_is_read(shop: Path, stores: Stores) -> None:
    settings = stores.settings.model_copy(update={"search_max_k": 5})
    searcher = Searcher(Stores(settings, stores.graph, stores.vectors_uri), load)
    image, boxes = scene(shop, [0])
    question: dict[str, Any] = {"image": data(image), "boxes": boxes}
    assert recommend(searcher, RecommendationsRequest(**question, k=5)).instances
    for asked in (question, {"viewed": [{"id": "p0"}]}):
        with pytest.raises(BadInput, match=r"k = 6: at most 5 \(setting search_max_k\)"):
            recommend(searcher, RecommendationsRequest(**asked, k=6))


def test_without_vectors_the_graph_answers(stores: Stores, ask: Ask) -> None:
    for id, key in (("a", "category:beds"), ("b", "category:lamps")):
        put(stores.graph, id)
        stores.graph.write(MOVE, id=id, key=key)
        stores.graph.write(LINK, id=id, key="series:kura", type="series", text="kura", df=2)
    reply = ask(viewed=[{"id": "a"}])
    assert (ids(reply.similar), ids(reply.complementary), reply.generation) == ([], ["b"], None)
    assert reply.notes[0].startswith("nothing similar: no generation is live")


def test_each_product_of_a_picture(shop: Path, ask: Ask) -> None:
    image, boxes = scene(shop, [0, 2])
    reply = ask(image=data(image), diversity=0)
    found = {one.box: one for one in reply.instances}
    first, second = (found[box] for box in boxes)
    assert first.product is not None
    assert second.product is not None
    assert (first.product.id, second.product.id) == ("p0", "p2")
    assert {"p0", "p1"}.isdisjoint(ids(first.similar))
    assert "p2" not in ids(second.similar)
    assert ids(first.complementary) == ["p3", "p4"]
    assert ids(second.complementary) == ["p3"]
    assert first.similar[0].reason.startswith("looks alike")
    narrow = ask(image=data(image), boxes=boxes, filters={"min_price": 30})
    assert [one.product.id for one in narrow.instances if one.product] == ["p0", "p2"]  # seen, whatever is wanted
    assert set(ids(narrow.instances[0].similar)) == {"p3", "p4"}


def test_nothing_of_the_request_stays(shop: Path, stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    def state() -> Any:
        counts = {name: stores.vectors.count(name) for name in stores.vectors.collections()}
        rows = stores.graph.read("MATCH (p:Product) RETURN properties(p) AS p ORDER BY p.id")
        return stores.graph.read(EVERYTHING), counts, str(rows)

    caplog.set_level(logging.DEBUG)
    before = state()
    files = {path: path.stat().st_size for path in stores.home.log.rglob("*")}
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        body = {"viewed": [{"id": "p3", "weight": 0.123456, "at": "2026-01-01T00:00:00Z"}]}
        answer = client.post("/v1/recommendations", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["similar"]
    assert state() == before
    said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("skugraph"))
    assert "/v1/recommendations" in said
    assert "p3" not in said
    assert "0.123456" not in caplog.text
    grown = [path for path in stores.home.log.rglob("*") if path.stat().st_size > files.get(path, 0)]
    assert not [path for path in grown if "0.123456" in path.read_text(errors="replace")]


def test_looks_decay_by_half_and_add_up() -> None:
    day = timedelta(days=1)
    seen = [
        Viewed(id="a", at=NOW - 7 * day),
        Viewed(id="b", at=NOW),
        Viewed(id="b", at=(NOW - 14 * day).replace(tzinfo=None)),
        Viewed(id="c", weight=0),
    ]
    found = weights_of(seen, 7, NOW)
    assert found == pytest.approx({"a": 0.5 / 1.75, "b": 1.25 / 1.75, "c": 0})
    assert weights_of([Viewed(id="a", at=NOW + timedelta(seconds=30))], 7, NOW) == {"a": 1.0}  # clocks differ
    with pytest.raises(BadInput, match=r"viewed: 'a' was looked at on 2026-03-02.*, in the future"):
        weights_of([Viewed(id="a", at=NOW + day)], 7, NOW)
    for gone in (Viewed(id="a", weight=0), Viewed(id="a", at=NOW - 36500 * day)):
        with pytest.raises(BadInput, match="every weight is 0, or has decayed to it"):
            weights_of([gone], 1, NOW)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "give one of image, image_url and viewed; given: none"),
        ({"viewed": []}, "viewed: Tuple should have at least 1 item"),
        ({"viewed": [{"id": "a"}], "image_url": "http://a/b.jpg"}, "given: image_url, viewed"),
        ({"viewed": [{"id": "a", "weight": -1}]}, "viewed.0.weight: Input should be greater than or equal to 0"),
        ({"viewed": [{"id": "a", "weight": float("inf")}]}, "viewed.0.weight: Input should be a finite number"),
        ({"viewed": [{"id": "a", "at": "tomorrow"}]}, "viewed.0.at: "),
        ({"viewed": [{"id": str(n)} for n in range(MAX_VIEWED + 1)]}, "viewed: Tuple should have at most 100 items"),
        ({"viewed": [{"id": "a", "person": "b"}]}, "viewed.0.person: Extra inputs are not permitted"),
        ({"viewed": [{"id": "a"}], "half_life_days": 0}, "half_life_days: Input should be greater than 0"),
        ({"viewed": [{"id": "a"}], "diversity": 2}, "diversity: Input should be less than or equal to 1"),
        ({"viewed": [{"id": "a"}], "boxes": [[0, 0, 1, 1]]}, "boxes need a picture"),
    ],
)
def test_bad_requests(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput) as caught:
        RecommendationsRequest.model_validate(fields)
    assert says in caught.value.message


def test_unknown_products(shop: Path, stores: Stores, ask: Ask) -> None:
    with pytest.raises(NotFound, match=r"viewed: product 'x' \(and 1 more\) does not exist"):
        ask(viewed=[{"id": "p0"}, {"id": "x"}, {"id": "y"}])
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        refused(client.post("/v1/recommendations", json={"viewed": [{"id": "x"}]}), 404, "not-found")
        refused(client.post("/v1/recommendations", content=json.dumps([1])), 400, "bad-input")
