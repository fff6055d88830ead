"""Rules in the graph: what they apply to, what is refused, and the trail, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kg.errors import BadInput, NotFound
from kg.filters import Filters
from kg.graph.driver import Graph
from kg.rules import Rule, add, events, get, listing, remove, version
from tests.shop import put

SOON = datetime.now(UTC) + timedelta(hours=1)
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=12)))


@pytest.fixture
def shop(graph: Graph) -> Graph:
    for name in ("p0", "p1"):
        put(graph, name, title="Candle")
    return graph


def test_a_rule_is_kept_whole_and_the_trail_keeps_who_and_why(shop: Graph) -> None:
    assert (listing(shop), version(shop)) == ([], 0)
    pin = add(
        shop, "pin", products=["p1", "p0", "p1"], query="  Green  BOTTLE ", expires_at=SOON, by="me", reason="sale"
    )
    filters = Filters(brand=("Aurora",), max_price=9)
    hide = add(shop, "exclude", filters=filters, category="Home", by="you")
    assert (pin.products, pin.query, pin.categories) == (("p1", "p0"), "green bottle", ())
    assert (hide.filters, hide.categories, hide.expires_at) == (filters, ("category:home",), "")
    assert listing(shop) == [pin, hide]
    assert (get(shop, pin.id), version(shop)) == (pin, 2)
    assert remove(shop, pin.id, by="her", reason="over") == pin
    assert (listing(shop), version(shop)) == ([hide], 3)
    trail = events(shop)
    assert [(one.action, one.rule, one.by, one.reason) for one in trail] == [
        ("rule-remove", pin.id, "her", "over"), ("rule-add", hide.id, "you", ""), ("rule-add", pin.id, "me", "sale"),
    ]  # fmt: skip
    assert trail[0].figures["products"] == ["p1", "p0"]
    assert [one.rule for one in events(shop, hide.id)] == [hide.id]
    with pytest.raises(NotFound, match=pin.id):
        remove(shop, pin.id)


def test_what_is_wrong_is_refused_and_nothing_is_written(shop: Graph) -> None:
    for match, fields in {
        "products or for filters": {},
        "give one of both": {"products": ["p0"], "filters": Filters(min_price=1)},
        "no product 'p9'": {"products": ["p0", "p9"]},
        "no category 'Nowhere'": {"products": ["p0"], "category": "Nowhere"},
        "over already": {"products": ["p0"], "expires_at": datetime(2020, 1, 1)},
        "1001 products": {"products": [f"p{n}" for n in range(1001)]},
        "2001 characters": {"products": ["p0"], "reason": "x" * 2001},
        r"products: '\\ud800' holds half": {"products": ["p0", "\ud800"]},
        r"query: 'jar \\udfff' holds half": {"products": ["p0"], "query": "jar \udfff"},
        "reason: .* holds half": {"products": ["p0"], "reason": "\ud800"},
        "category: .* holds half": {"products": ["p0"], "category": "\ud800"},
        "9999-12-31T23:59:59-12:00: it lies outside": {"products": ["p0"], "expires_at": LATEST},
    }.items():
        with pytest.raises(BadInput, match=match) as caught:
            add(shop, "pin", **fields)  # type: ignore[arg-type]
        assert caught.value.detail["field"] in {"products", *fields}
    with pytest.raises(BadInput, match="'hide': pin, bury, exclude"):
        add(shop, "hide", products=["p0"])  # type: ignore[arg-type]
    assert (listing(shop), events(shop), version(shop)) == ([], [], 0)


def test_a_rule_counts_where_it_was_made_for_and_until_it_ends() -> None:
    now = datetime.now(UTC)

    def counts(rule: Rule, text: str = "", categories: tuple[str, ...] = ()) -> bool:
        return rule.in_force(text, categories, now)

    assert counts(Rule("pin"))
    assert counts(Rule("pin", query="jar"), "jar")
    assert not counts(Rule("pin", query="jar"), "jars")
    inside = Rule("pin", categories=("category:home",))
    assert counts(inside, "jar", ("category:home > candles", "category:home"))
    assert not counts(inside, "jar")
    assert not counts(inside, "jar", ("category:homeware",))
    assert not counts(inside, "jar", ("category:home", "category:garden"))
    assert counts(Rule("pin", expires_at=(now + timedelta(seconds=1)).isoformat()))
    assert not counts(Rule("pin", expires_at=now.isoformat()))
