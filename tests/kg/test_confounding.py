"""What an encoder's training found of entities, on both graph engines."""

from __future__ import annotations

import math

import pytest

from kg import confounding
from kg.confounding import Finding, extremes, scored, write
from kg.errors import BadInput
from kg.graph.driver import Graph

FOUND = [
    Finding("brand:diesel", 1.25, 1.25, 0.5, True),
    Finding("brand:aurora", -0.5, -0.5, None, False),
    Finding("colour:red", 0.25, 0.25, -0.125, False),
]


def entities(graph: Graph, *keys: str) -> None:
    for key in keys:
        kind, _, text = key.partition(":")
        graph.write("CREATE (:Entity {key: $key, type: $kind, text: $text, df: 3})", key=key, kind=kind, text=text)


@pytest.fixture
def shop(graph: Graph) -> Graph:
    entities(graph, "brand:diesel", "brand:aurora", "colour:red", "colour:blue")
    return graph


def properties(graph: Graph, key: str) -> dict[str, object]:
    [row] = graph.read("MATCH (e:Entity {key: $key}) RETURN properties(e) AS e", key=key)
    return {name: value for name, value in row["e"].items() if name not in ("key", "type", "text", "df")}


def test_findings_are_properties_that_cypher_sees(shop: Graph) -> None:
    assert write(shop, FOUND, by="f" * 64) == 3
    assert properties(shop, "brand:diesel") == {
        "confounding": 1.25,
        "mismatch": 1.25,
        "drop_in_loss": 0.5,
        "confounding_chosen": True,
        "confounding_by": "f" * 64,
    }
    assert properties(shop, "colour:blue") == {}
    assert properties(shop, "brand:aurora").get("drop_in_loss") is None
    query = "MATCH (e:Entity) WHERE e.confounding > 0 RETURN e.key AS key ORDER BY e.confounding DESC"
    assert [row["key"] for row in shop.read(query)] == ["brand:diesel", "colour:red"]


def test_again_changes_nothing_and_another_encoder_takes_over(shop: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confounding, "CLEARED", 1)  # several rounds of clearing
    write(shop, FOUND, by="a" * 64)
    first = scored(shop)
    assert write(shop, FOUND, by="a" * 64) == 3
    assert scored(shop) == first
    other = [Finding("colour:blue", None, 0.5, None, False)]
    assert write(shop, other, by="b" * 64) == 1
    assert properties(shop, "brand:diesel") == properties(shop, "colour:red") == {}
    [only] = scored(shop)
    assert (only.key, only.confounding, only.mismatch, only.chosen, only.by) == (
        "colour:blue",
        None,
        0.5,
        False,
        "b" * 64,
    )


def test_findings_of_entities_that_are_gone_are_left_out(shop: Graph) -> None:
    assert write(shop, [*FOUND, Finding("brand:gone", 2.0, 2.0, 2.0, True)], by="f") == 3
    assert "brand:gone" not in [one.key for one in scored(shop)]


def test_the_most_confounding_come_first(shop: Graph) -> None:
    write(shop, [*FOUND, Finding("colour:blue", None, 0.5, None, False)], by="f")
    found = scored(shop)
    assert [one.key for one in found] == ["brand:diesel", "colour:red", "brand:aurora", "colour:blue"]
    assert (found[0].type, found[0].text, found[0].df) == ("brand", "diesel", 3)
    ends = {kind: [[one.text for one in side] for side in sides] for kind, sides in extremes(found, 1).items()}
    assert ends == {"brand": [["diesel"], ["aurora"]], "colour": [["red"], []]}


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused_before_anything_is_written(shop: Graph, score: float) -> None:
    with pytest.raises(BadInput, match="'colour:blue' has the scores"):
        write(shop, [*FOUND, Finding("colour:blue", 0.0, score, None, False)], by="f")
    assert scored(shop) == []


def test_an_entity_twice_is_refused(shop: Graph) -> None:
    with pytest.raises(BadInput, match="'brand:diesel' comes twice"):
        write(shop, [*FOUND, FOUND[0]], by="f")
