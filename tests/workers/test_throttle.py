"""Waiting before a chunk, on both graph engines. No time is asserted but who waits and who does not."""

from __future__ import annotations

import time

import pytest

from kg.load import report
from kg.stores import Stores
from workers import throttle
from workers.throttle import Throttle


@pytest.fixture
def stores(stores: Stores) -> Stores:
    throttle._free_at.clear()
    throttle._waiting.clear()
    return stores


def set_to(stores: Stores, **values: float) -> Stores:
    return Stores(stores.settings.model_copy(update=values), stores.graph, stores.vectors_uri)


def soon() -> float:
    return time.monotonic() + 0.3


def test_without_settings_nobody_waits(stores: Stores) -> None:
    one = Throttle(stores, "g1")
    for _ in range(3):
        one.spend(10_000)
        assert one.wait(soon())


def test_the_rate_holds_across_steps_and_for_its_generation_alone(stores: Stores) -> None:
    slow = set_to(stores, embed_max_rate=10)
    first = Throttle(slow, "g1")
    assert first.wait(soon())
    first.spend(600)  # a minute's worth
    assert not first.wait(soon())
    assert not Throttle(slow, "g1").wait(soon()), "the next step of the same generation"
    assert Throttle(slow, "g2").wait(soon())
    quick = set_to(stores, embed_max_rate=1000)
    other = Throttle(quick, "g3")
    other.spend(200)
    assert other.wait(time.monotonic() + 30), "it waits as long as it must, and goes on"


def test_embedding_steps_back_while_searches_are_slow_but_not_for_ever(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = set_to(stores, embed_yield_ms=50)
    assert Throttle(own, "g1").wait(soon()), "nobody searches"
    report(stores.graph, "api", 49.0)
    assert Throttle(own, "g1").wait(soon())
    report(stores.graph, "api", 51.0)
    assert not Throttle(own, "g1").wait(soon())
    monkeypatch.setattr(throttle, "BACK_OFF_S", 0.1)
    assert Throttle(own, "g1").wait(time.monotonic() + 30)
    assert Throttle(stores, "g1").wait(soon()), "the setting is off"
