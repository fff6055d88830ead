"""Trees of conditions mean beside the vectors what they mean in Python, on every build of Milvus."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from kg.conditions import All, AnyOf, Condition, Leaf, Not, holds
from kg.errors import BadFilter
from kg.graph.selection import Selection
from kg.vectors import filtering
from kg.vectors.client import VectorStore
from kg.vectors.expressions import NOTHING
from kg.vectors.filtering import expression
from tests.kg.listings import Listing, conditions, listings


def row(one: Listing, number: int) -> dict[str, Any]:
    return {
        "instance_id": f"i{number}",
        "product_id": one.id,
        "vector": [1.0, number],
        "brand": one.brand,
        "categories": one.categories,
        "entities": one.entities,
        "seller": one.seller or "",
        "price": -1.0 if one.price is None else one.price,
        "updated_at": int(one.updated.timestamp()) if one.updated else 0,
    }


def test_any_tree_is_brute_force(vectors: VectorStore) -> None:
    found = listings(2, 60)
    name = f"{vectors.prefix}_trees_text"
    vectors.create(name, 2)
    vectors.upsert(name, [row(one, n) for n, one in enumerate(found)])

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(conditions([one.id for one in found], patterns=False))
    def check(condition: Condition) -> None:
        told = expression(Selection(more=(condition,)))
        assert told is not None
        [hits] = vectors.search(name, [[1.0, 0.0]], len(found), where=told)  # type: ignore[arg-type]
        assert {hit.product_id for hit in hits} == {one.id for one in found if holds(condition, one.passes)}, told

    check()


BRAND, PRICE, PATTERN = Leaf("brands", ["brand:a"]), Leaf("max_price", 5.0), Leaf("pattern", ["p1"])


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (All(), ""),
        (AnyOf(), NOTHING),
        (Not(Leaf("brands", [])), ""),
        (BRAND, 'brand in ["brand:a"]'),
        (AnyOf((BRAND, Not(PRICE))), '(brand in ["brand:a"]) or (not ((price >= 0 and price <= 5.0)))'),
        (PATTERN, None),
        (AnyOf((BRAND, Not(All((PRICE, PATTERN))))), None),
        (All((BRAND, Not(Leaf("pattern", [])))), 'brand in ["brand:a"]'),
    ],
)
def test_told(condition: Condition, told: str | None) -> None:
    assert expression(Selection(more=(condition,))) == told


def test_more_keys_than_are_worth_it_are_left_to_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "MAX_KEYS", 2)
    one, other = Leaf("entities", ["a:1", "a:2"]), Leaf("sellers", ["x"])
    assert expression(Selection(more=(one,)))
    assert expression(Selection(more=(AnyOf((one, Not(other))),))) is None


def test_a_condition_without_a_meaning_raises() -> None:
    with pytest.raises(BadFilter, match="'colours' has no meaning"):
        expression(Selection(more=(Leaf("colours", ["red"]),)))
