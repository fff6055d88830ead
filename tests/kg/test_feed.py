from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kg.feed import Change, Instance, changes, revision, stale, touch
from kg.graph.cypher.feed import FEED_PRODUCTS
from kg.graph.driver import Graph
from tests.shop import draw, put, remove


def test_an_empty_graph_has_no_changes(graph: Graph) -> None:
    assert changes(graph, 0, 10) == []
    assert stale(graph, 0) == 0


def test_a_change_carries_all_that_is_kept_beside_the_vectors(graph: Graph, tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.png", 1)
    put(graph, "p1", title="Pillar candle", pictures=[picture, picture], box=(1, 2, 30, 40), price=9.5, colour="ivory")
    [change] = changes(graph, 0, 10)
    assert change == Change(
        id="p1",
        revision=1,
        text="Pillar candle",
        stated=(
            ("brand", "aurora"),
            ("category", "home"),
            ("category", "home > candles"),
            ("colour", "ivory"),
        ),
        fields={
            "product_id": "p1",
            "brand": "brand:aurora",
            "categories": ["category:home", "category:home > candles"],
            "entities": ["colour:ivory"],
            "seller": "Corner Shop",
            "price": 9.5,
            "updated_at": 1767323045,
            "content_hash": "Pillar candle",
            "revision": 1,
        },
        instances=(
            Instance("p1#img0", "image", picture.as_uri(), (1.0, 2.0, 30.0, 40.0)),
            Instance("p1#img1", "image", picture.as_uri(), (1.0, 2.0, 30.0, 40.0)),
            Instance("p1#txt", "text"),
        ),
    )


def test_what_only_a_caption_mentions_is_not_stated(graph: Graph) -> None:
    put(graph, "p1", colour="ivory")
    graph.write(
        "MATCH (p:Product {id: 'p1'}) CREATE (p)-[:HAS_ENTITY {source: 'caption'}]->(:Entity {key: 'phrase:tall'})"
    )
    put(graph, "p2")
    first, second = changes(graph, 0, 10)
    assert first.fields["entities"] == ["colour:ivory", "phrase:tall"]
    assert first.stated[3:] == (("colour", "ivory"),)
    assert [kind for kind, _ in second.stated] == ["brand", "category", "category"]


def test_changes_come_in_order_in_chunks_and_only_once(graph: Graph) -> None:
    for n in range(7):
        put(graph, f"p{n}")
    remove(graph, "p3")  # 8
    put(graph, "p0", title="new")  # 9
    put(graph, "p7")  # 10
    remove(graph, "p5")  # 11
    assert stale(graph, 0) == 8
    seen, cursor = [], 0
    while chunk := changes(graph, cursor, 3):
        assert len(chunk) <= 3
        seen += [(change.revision, change.id, change.removed) for change in chunk]
        cursor = chunk[-1].revision
        assert stale(graph, cursor) == 8 - len(seen)
    assert seen == [
        (2, "p1", False),
        (3, "p2", False),
        (5, "p4", False),
        (7, "p6", False),
        (8, "p3", True),
        (9, "p0", False),
        (10, "p7", False),
        (11, "p5", True),
    ]


def test_gaps_in_the_numbers_hide_nothing(graph: Graph) -> None:
    put(graph, "p1")
    graph.write("MATCH (c:Counter {name: 'revision'}) SET c.value = 5000")
    put(graph, "p2")
    remove(graph, "p3")
    assert [(change.id, change.revision) for change in changes(graph, 0, 2)] == [("p1", 1), ("p2", 5001)]
    assert [change.id for change in changes(graph, 1, 5)] == ["p2", "p3"]


def test_unknown_price_and_no_entities(graph: Graph) -> None:
    put(graph, "p1")
    [change] = changes(graph, 0, 1)
    assert change.fields["price"] == -1.0
    assert change.fields["entities"] == []


def test_what_is_touched_comes_again_also_as_removed(graph: Graph) -> None:
    for n in range(4):
        put(graph, f"p{n}")
    remove(graph, "p3")
    touch(graph, ["p3", "p1", "p0", "nobody"], batch=3)
    assert revision(graph) == 9
    assert [(c.id, c.revision, c.removed) for c in changes(graph, 5, 10)] == [
        ("p3", 6, True),
        ("p1", 7, False),
        ("p0", 8, False),
    ]


@pytest.mark.parametrize("again", ["changed", "removed"])
@pytest.mark.parametrize("names", [["p2"], ["p1", "p2"]])
def test_what_changes_between_being_found_and_being_named_hides_nothing(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, again: str, names: list[str]
) -> None:
    """As Neo4j answers then: the row is there, and of it only what is so by now."""
    for n in range(1, 5):
        put(graph, f"p{n}")
    remove(graph, "p5")
    read, told = graph.read, []

    def torn(cypher: str, /, **params: Any) -> list[dict[str, Any]]:
        rows = read(cypher, **params)
        if cypher != FEED_PRODUCTS or told:
            return rows
        told.extend(names)
        for row in rows:
            if row["id"] in names and again == "removed":
                remove(graph, row["id"])
                row.update(id=None, revision=None)
            elif row["id"] in names:
                put(graph, row["id"], title="new")
                row["revision"] = revision(graph)
        return rows

    monkeypatch.setattr(graph, "read", torn)
    seen, cursor = [], 0
    while chunk := changes(graph, cursor, 2):
        seen += [(change.id, change.removed) for change in chunk]
        cursor = chunk[-1].revision
        assert stale(graph, cursor) == 5 - len(seen)
    rest = [f"p{n}" for n in range(1, 5) if f"p{n}" not in names]
    assert seen == [*((name, False) for name in rest), ("p5", True), *((name, again == "removed") for name in names)]
