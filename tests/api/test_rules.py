"""What rules, grouping and diversity make of a list: against naive Python over the whole ranking, on both engines."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import Keys
from api.diversity import directions
from api.models import SearchReply, SearchRequest
from api.rules import KEPT_S, RuleBook, Ruling
from api.search import Searcher
from kg import rules
from kg.filters import Filters
from kg.graph.resolving import selected
from kg.stores import Stores
from tests.api.world import World, build
from tests.shop import put

SAME = "UNWIND $rows AS row MATCH (a:Product {id: row.a}), (b:Product {id: row.b}) MERGE (a)-[:SAME_AS]->(b)"
HERE = "http://127.0.0.1:8765"
AFTER = timedelta(hours=1)

Search = Callable[..., SearchReply]


@pytest.fixture
def world(stores: Stores) -> World:
    return build(stores, seed=5, products=90)


@pytest.fixture
def searcher(stores: Stores, world: World) -> Searcher:
    def none(path: str) -> Any:
        raise AssertionError("nothing is embedded here")

    return Searcher(stores, none)


@pytest.fixture
def search(searcher: Searcher) -> Search:
    return lambda **fields: searcher.search(SearchRequest(**fields))


def ids(reply: SearchReply) -> list[str]:
    return [hit.product.id for hit in reply.hits]


def asked(world: World) -> str:
    return next(item.id for item in world.items if item.vectors)


def naive(ranking: list[str], k: int, *, pin: list[str], bury: set[str], exclude: set[str]) -> list[str]:
    lead = [id for id in pin if id not in exclude]
    rest = [id for id in ranking if id not in {*lead, *exclude, *bury}]
    last = [id for id in ranking if id in bury - {*lead, *exclude}]
    return [*lead, *rest, *last][:k]


@pytest.mark.parametrize("seed", range(3))
def test_rules_against_the_whole_ranking(world: World, stores: Stores, search: Search, seed: int) -> None:
    chance, like = random.Random(seed), asked(world)
    filters: dict[str, Any] = {"like": like} if seed != 2 else {"filters": {"min_price": 0}}
    ranking = ids(search(**filters, k=1000))
    known = [item.id for item in world.items if item.id != like]
    inside = known if seed != 2 else ranking
    pin = chance.sample(known, 4)
    bury, exclude = set(chance.sample(known, 20)), set(chance.sample(known, 25))
    made = [
        rules.add(stores.graph, "exclude", products=sorted(exclude)),
        rules.add(stores.graph, "pin", products=pin),
        rules.add(stores.graph, "bury", products=sorted(bury)),
    ]
    pinned = [id for id in pin if id in inside]
    for k in (1, 5, 30, 80):
        reply = search(**filters, k=k)
        assert ids(reply) == naive(ranking, k, pin=pinned, bury=bury, exclude=exclude), k
        for hit in reply.hits:
            if hit.product.id in pinned and hit.product.id not in exclude:
                assert (hit.rule, hit.reason.split(";")[0]) == (made[1].id, f"pinned by rule {made[1].id}")
            elif hit.product.id in bury:
                assert hit.reason.startswith(f"buried by rule {made[2].id}")
            else:
                assert hit.rule is None
        assert reply.notes
    for rule in made:
        rules.remove(stores.graph, rule.id)
    again = search(**filters, k=1000)
    assert (ids(again), again.notes) == (ranking, ())


def test_filters_of_rules_and_lists_that_must_grow(world: World, stores: Stores, search: Search) -> None:
    like = asked(world)
    ranking = ids(search(like=like, k=1000))
    kept = {item.id for item in world.items if item.price is not None and item.price <= 20}
    rules.add(stores.graph, "exclude", filters=Filters.model_validate({"min_price": 20.001}))
    rules.add(stores.graph, "exclude", products=[item.id for item in world.items if item.price is None][:1000])
    wanted = [id for id in ranking if id in kept]
    assert 3 < len(wanted) < len(ranking) / 2
    for k in (1, 3, len(wanted), 80):  # a list of k would not do
        reply = search(like=like, k=k)
        assert ids(reply) == wanted[:k]
    last = wanted[-1]
    rules.add(stores.graph, "pin", filters=Filters(max_price=20), query="something else")
    assert ids(search(like=like, k=2)) == wanted[:2]
    rules.add(stores.graph, "pin", products=[last])
    assert ids(search(like=like, k=2)) == [last, wanted[0]]
    assert ids(search(like=last, k=2))[0] != last  # what is asked with is no answer
    assert ids(search(filters={"min_price": 50}, k=5)) == []  # a pin does not overrule the filters of the search


def test_rules_end_and_keep_to_their_categories(
    world: World, stores: Stores, search: Search, searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = asked(world)
    plain = ids(search(like=like, k=5))
    ends = datetime.now(UTC) + AFTER
    rule = rules.add(stores.graph, "exclude", products=plain[:1], expires_at=ends)
    assert ids(search(like=like, k=4)) == plain[1:5]
    assert ids(searcher.search(SearchRequest(like=like, k=5), rules=False)) == plain

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Later:
            return cls.fromtimestamp(ends.timestamp() + 1, tz)

    monkeypatch.setattr("api.rules.datetime", Later)
    assert ids(search(like=like, k=5)) == plain
    monkeypatch.undo()
    rules.remove(stores.graph, rule.id)
    category = next(item for item in world.items if item.id == plain[0] or item.category_key)
    name = str(category.category_key).removeprefix("category:")
    inside = ids(search(like=like, filters={"category": name}, k=5))
    rules.add(stores.graph, "bury", products=[*inside, *plain], category=f"category:{name}")
    assert ids(search(like=like, k=5)) == plain
    assert ids(search(like=like, filters={"category": name}, k=5)) != inside or len(inside) < 5


def test_a_rule_for_a_category_counts_however_the_filters_nest(world: World, stores: Stores, search: Search) -> None:
    keys = sorted({str(item.category_key) for item in world.items if item.category_key})
    key = next(key for key in keys if not any(other.startswith(f"{key} > ") for other in keys))
    name, other = key.removeprefix("category:"), "category:toys"
    like = asked(world)
    shown = ids(search(like=like, filters={"category": name}, k=1000))
    assert shown
    rules.add(stores.graph, "exclude", products=shown, category=key)
    for filters in (
        {"category": name},
        {"all": [{"category": name}]},
        {"all": [{"min_price": 0}, {"all": [{"category": name}]}]},
        {"any": [{"category": name}]},
        {"category": [name, other], "all": [{"category": name}]},
    ):
        assert ids(search(like=like, filters=filters, k=1000)) == [], filters
    for filters in (
        {"any": [{"category": name}, {"category": other}]},
        {"category": [name, other]},
        {"not": {"category": other}},
    ):
        assert set(shown) & set(ids(search(like=like, filters=filters, k=1000))), filters


def test_one_listing_for_each_very_same_product(world: World, stores: Stores, search: Search) -> None:
    like = asked(world)
    ranking = ids(search(like=like, k=1000))
    names = sorted({*ranking} - {like})
    chance = random.Random(3)
    chance.shuffle(names)
    groups = [sorted(names[start : start + 6]) for start in range(0, 48, 6)]  # a star around the smallest id
    stores.graph.write(SAME, rows=[{"a": one, "b": group[0]} for group in groups for one in group[1:]])
    group_of = {one: group[0] for group in groups for one in group}
    expected = list({group_of.get(id, id): id for id in reversed(ranking)}.values())[::-1]
    expected = sorted(expected, key=ranking.index)
    for k in (1, 10, 30, 90):
        reply = search(like=like, k=k, group="offers")
        assert ids(reply) == expected[:k]
    priced = {item.id: item.price for item in world.items if item.price is not None}
    for hit in search(like=like, k=90, group="offers").hits:
        group = next((group for group in groups if hit.product.id in group), [hit.product.id])
        assert hit.offers == sum(one in priced for one in group)
    assert ids(search(like=like, k=1000)) == ranking
    rules.add(stores.graph, "exclude", products=expected[:2])  # then another of the group may stand for it
    left = [id for id in ranking if id not in expected[:2]]
    first = {group_of.get(id, id): id for id in reversed(left)}
    assert ids(search(like=like, k=10, group="offers")) == sorted(first.values(), key=ranking.index)[:10]


def test_what_filters_pin_takes_its_group_before_a_better_listing(world: World, stores: Stores, search: Search) -> None:
    like = asked(world)
    ranking = ids(search(like=like, k=1000))
    price = {item.id: item.price for item in world.items}
    far = next(id for id in reversed(ranking) if price[id] and price[id] not in [price[one] for one in ranking[:2]])
    stores.graph.write(SAME, rows=[{"a": ranking[0], "b": far}])
    assert ids(search(like=like, k=1, group="offers")) == ranking[:1]
    rules.add(stores.graph, "pin", filters=Filters(min_price=price[far], max_price=price[far]))
    pinned = [id for id in ranking if price[id] == price[far]]
    rest = [id for id in ranking[1:] if id not in pinned]
    for k in (30, 200):  # so that the lists reach it
        reply = search(like=like, k=k, group="offers")
        assert ids(reply) == [*pinned, *rest][:k]
        assert reply.hits[0].rule
    rules.add(stores.graph, "pin", products=ranking[:1])  # the older rule still has the group
    assert ids(search(like=like, k=200, group="offers")) == [*pinned, *rest]


def test_diversity_spreads_and_loses_none(world: World, stores: Stores, search: Search) -> None:
    like = asked(world)
    plain, spread = (search(like=like, k=10, diversity=d) for d in (0.0, 0.8))
    assert ids(plain) == ids(search(like=like, k=10))

    def alike(reply: SearchReply) -> float:
        rows = directions(stores, world.generation, ids(reply))
        return float(np.triu(rows @ rows.T, 1).sum())

    assert (spread.returned, len(set(ids(spread)))) == (10, 10)
    assert ids(spread)[0] == ids(plain)[0]
    assert alike(spread) < alike(plain) - 0.5
    everything = ids(search(like=like, k=1000))
    assert sorted(ids(search(like=like, k=1000, diversity=0.5))) == sorted(everything)


def test_filters_of_rules_are_resolved_once_for_each_state_of_the_catalogue(
    world: World, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, took, made = 1000.0, 0.0, list[Filters]()

    def counted(stores: Stores, filters: Filters) -> Any:
        nonlocal now
        now += took
        made.append(filters)
        return selected(stores, filters)

    monkeypatch.setattr("api.rules.selected", counted)
    book = RuleBook(stores, clock=lambda: now)
    wrong = Filters(cypher="MATCH (p:Product) RETURN p.id, p.title")
    some = [rules.add(stores.graph, "bury", filters=filters) for filters in (Filters(min_price=20), wrong)]

    def resolved() -> int:
        """How many filters one search resolves."""
        made.clear()
        found = Ruling.of(book, book.in_force("", [], rules.version(stores.graph)))
        assert (list(found.rules), len(found.notes)) == (some[:1], 1)
        assert some[1].id in found.notes[0]
        return len(made)

    assert [resolved() for _ in range(3)] == [2, 0, 0]
    other = rules.add(stores.graph, "pin", products=[world.items[0].id], query="another")
    assert resolved() == 0  # rules never change
    rules.remove(stores.graph, other.id)
    put(stores.graph, "new", title="Jar")
    assert [resolved(), resolved()] == [2, 0]
    now += KEPT_S + 1
    took = 10.0
    assert [resolved(), resolved()] == [2, 0]
    put(stores.graph, "newer", title="Jar")
    now += KEPT_S + 1
    assert resolved() == 0  # it took 20 s
    now += 1000
    assert resolved() == 2
    rules.remove(stores.graph, some[1].id)
    book.in_force("", [], rules.version(stores.graph))
    assert list(book._resolved) == [some[0].id]


@pytest.fixture
def api(stores: Stores, world: World) -> Iterator[TestClient]:
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        yield client


def test_by_rest(api: TestClient, world: World) -> None:
    ask = {"filters": {"min_price": 0}, "k": 3}
    plain = [hit["product"]["id"] for hit in api.post("/v1/search", json=ask).json()["hits"]]
    made = api.post("/v1/rules", json={"action": "exclude", "products": plain[:1], "reason": "recall"})
    assert made.status_code == 201, made.text
    rule = made.json()
    assert (rule["expired"], rule["by"], rule["reason"]) == (False, "API at testclient", "recall")
    found = api.post("/v1/search", json=ask).json()
    assert [hit["product"]["id"] for hit in found["hits"]][:2] == plain[1:]
    assert found["notes"] == ["rules: 1 excluded"]
    assert api.get("/v1/rules").json()["rules"] == [rule] == [api.get(f"/v1/rules/{rule['id']}").json()]
    assert api.post("/v1/rules", json={"action": "pin"}).status_code == 400
    assert api.post("/v1/rules", json={"action": "pin", "products": ["x"]}).status_code == 404
    assert api.post("/v1/rules", json={"action": "pin", "filters": {"colour": 1}}).status_code == 400
    for body in (
        {"products": ["\ud800"]},
        {"products": plain, "query": "\ud800"},
        {"products": plain, "reason": "\udfff"},
        {"products": plain, "category": "\ud800"},
        {"products": plain, "expires_at": "9999-12-31T23:59:59-12:00"},
    ):
        sent = json.dumps({"action": "pin", **body})  # as escapes, which are JSON
        refused = api.post("/v1/rules", content=sent, headers={"Content-Type": "application/json"})
        assert (refused.status_code, refused.json()["field"]) == (400, [*body][-1]), refused.text
    gone = api.delete(f"/v1/rules/{rule['id']}", params={"reason": "mended"})
    assert gone.json()["id"] == rule["id"]
    assert api.delete(f"/v1/rules/{rule['id']}").status_code == 404
    trail = api.get("/v1/rules/events").json()["events"]
    assert [(one["action"], one["reason"]) for one in trail] == [("rule-remove", "mended"), ("rule-add", "recall")]
    history = api.get("/v1/generations:events").json()["events"]
    assert [one["action"] for one in history] == ["promote"]  # rules are no generations


def test_who_may_only_read_makes_no_rules(embedded: Stores, tmp_path: Path) -> None:
    settings = embedded.settings.model_copy(update={"api_auth": "on"})
    token = Keys.of(settings).add(f"{tmp_path.name}-reader", "read")
    with TestClient(create_app(settings), base_url=HERE, headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.get("/v1/rules").status_code == 200
        assert client.post("/v1/rules", json={"action": "pin", "products": ["x"]}).status_code == 403
        assert client.delete("/v1/rules/x").status_code == 403


def test_filters_pin_what_stands_far_down_the_list(world: World, stores: Stores, search: Search) -> None:
    like = asked(world)
    ranking = ids(search(like=like, k=80))
    price = {item.id: item.price for item in world.items}
    far = next(id for id in reversed(ranking) if price[id])
    rules.add(stores.graph, "pin", filters=Filters(min_price=price[far], max_price=price[far]))
    same = [id for id in ranking if price[id] == price[far]]
    assert ids(search(like=like, k=20)) == [*same, *(id for id in ranking if id not in same)][:20]
