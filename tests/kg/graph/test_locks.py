"""Locks in the graph, on each engine."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kg.errors import JobError
from kg.graph.cypher.core import LOCK, LOCK_TAKE
from kg.graph.driver import Graph
from kg.graph.locks import held


def test_one_at_a_time(graph: Graph) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with held(graph, "test"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.05)
            inside -= 1

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(work) for _ in range(8)]:
            done.result()
    assert most == 1
    assert graph.read(LOCK, name="test") == [{"holder": None}]


def test_who_waits_too_long_is_told_who_has_it(graph: Graph) -> None:
    with (
        held(graph, "test") as first,
        pytest.raises(JobError, match=rf"'test' is held by process {first.holder}"),
        held(graph, "test", wait_s=0.2),
    ):
        raise AssertionError("two hold it")


def test_it_is_let_go_of_when_the_block_fails(graph: Graph) -> None:
    with pytest.raises(ZeroDivisionError), held(graph, "test"):
        raise ZeroDivisionError
    with held(graph, "test", wait_s=0.2):
        pass


def test_it_stays_with_who_gives_signs_of_life(graph: Graph) -> None:
    with held(graph, "test", lease_s=0.8):
        time.sleep(2)
        with pytest.raises(JobError), held(graph, "test", wait_s=0.2):
            raise AssertionError("two hold it")


def test_who_lost_it_learns_so(graph: Graph) -> None:
    with held(graph, "test", lease_s=0.8) as lock:
        lock.check()
        steal = {"holder": "thief 1 0.0 x", "dead": lock.holder, "keep": False, "lease": 60_000}
        assert graph.write(LOCK_TAKE, name="test", **steal)
        end = time.monotonic() + 10
        while not lock.lost and time.monotonic() < end:
            time.sleep(0.05)
        with pytest.raises(JobError, match="was lost"):
            lock.check()
    assert graph.read(LOCK, name="test") == [{"holder": "thief 1 0.0 x"}], "the thief keeps it"
