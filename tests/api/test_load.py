"""What an API process tells the workers of its searches."""

from __future__ import annotations

import random

import pytest

from api.load import LoadReporter, counts, percentile
from api.metrics import SEARCH_SECONDS, SECONDS
from kg.load import slowest
from kg.stores import Stores


def buckets(seconds: list[float]) -> dict[float, float]:
    return {bound: float(sum(s <= bound for s in seconds)) for bound in (*SECONDS, float("inf"))}


def test_the_percentile_lies_in_the_bucket_of_the_true_one() -> None:
    assert percentile({}, 0.95) is None
    assert percentile(buckets([]), 0.95) is None
    assert percentile(buckets([100.0]), 0.95) == SECONDS[-1], "beyond the last bound nothing is known"
    draws = random.Random(4)
    for n in (1, 7, 100):
        seconds = [draws.lognormvariate(-3, 1) for _ in range(n)]
        true = sorted(seconds)[-(-95 * n // 100) - 1]
        low = max((bound for bound in SECONDS if bound < true), default=0.0)
        high = min(bound for bound in SECONDS if bound >= true)
        found = percentile(buckets(seconds), 0.95)
        assert found is not None
        assert low <= found <= high


def test_only_what_was_searched_since_is_told(stores: Stores) -> None:
    SEARCH_SECONDS.labels("test").observe(20.0)
    reporter = LoadReporter(lambda: stores)
    assert reporter.tell() is None
    assert slowest(stores.graph) == 0
    for _ in range(20):
        SEARCH_SECONDS.labels("test").observe(0.04)
    told = reporter.tell()
    assert told == pytest.approx(49.0, abs=5)
    assert slowest(stores.graph) == told
    assert reporter.tell() is None
    reporter.stop()
    assert slowest(stores.graph) == 0
    assert counts()[float("inf")] >= 21
