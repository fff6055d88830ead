"""Rate limit: a burst, then an even refill, each client for itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.limits import RateLimit
from kg.errors import RateLimited


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(limit: RateLimit, client: str) -> bool:
    try:
        limit.take(client)
    except RateLimited:
        return False
    return True


def test_burst_then_even_refill() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    assert [passed(limit, "a") for _ in range(61)] == [True] * 60 + [False]
    assert passed(limit, "b")
    clock.now = 1.01
    assert [passed(limit, "a") for _ in range(2)] == [True, False]


def test_the_refusal_says_when_to_come_back() -> None:
    clock = Clock()
    limit = RateLimit(1, clock=clock)
    limit.take("a")
    with pytest.raises(RateLimited, match="more than 1 requests a minute") as caught:
        limit.take("a")
    clock.now = float(str(caught.value.detail["retry_after_s"]))
    assert passed(limit, "a")


def test_zero_is_no_limit() -> None:
    limit = RateLimit(0)
    assert all(passed(limit, "a") for _ in range(1000))


def test_what_is_charged_is_owed() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    limit.take("a")
    limit.charge("a", 99)  # 40 more than it has
    with pytest.raises(RateLimited) as caught:
        limit.take("a")
    assert caught.value.detail["retry_after_s"] == pytest.approx(41, abs=0.2)
    assert passed(limit, "b")
    clock.now = 41.1
    assert [passed(limit, "a") for _ in range(2)] == [True, False]


def test_clients_are_forgotten_oldest_first() -> None:
    limit = RateLimit(1, clients=2, clock=Clock())
    assert [passed(limit, client) for client in "abcaca"] == [True, True, True, True, False, False]


@given(st.lists(st.floats(0, 30), min_size=1, max_size=300))
def test_never_more_than_the_limit_and_a_burst_in_any_minute(gaps: list[float]) -> None:
    clock = Clock()
    limit = RateLimit(20, clock=clock)
    times = []
    for gap in gaps:
        clock.now += gap
        if passed(limit, "a"):
            times.append(clock.now)
    assert all(sum(at <= t < at + 60 for t in times) <= 40 for at in times)
