"""Clocks that jump: locks and signs of life are timed by the graph's own clock, and processes of this host are known by
marks that no clock moves. So the clock of a worker's host, which may be set at any time, decides nothing. That of the
graph does: when it jumps forward, every sign of life looks old, and work is done twice, with the same result."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from kg.errors import JobError
from kg.graph.locks import held
from kg.stores import Stores
from tests.conftest import apart
from tests.kg.test_processes import move_the_clock
from tests.tiny_encoder import write_tiny
from workers.jobs import ORPHAN_S, get_job, submit_embed
from workers.lease import beating, claim, note, rescue

DAY_S = 86_400.0


@pytest.fixture
def own(stores: Stores, tmp_path: Path) -> Stores:
    return apart(stores, tmp_path / "home")


@pytest.fixture(params=[DAY_S, -DAY_S], ids=["forward", "back"])
def jump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the clock of this host is a day off, as this process sees it."""
    if sys.platform == "linux":
        move_the_clock(monkeypatch, request.param)
    else:
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + request.param)


def test_a_job_whose_worker_lives_is_no_orphan(own: Stores, tmp_path: Path, jump: None) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    assert claim(own, job.id) is not None
    note(own, job.id, worker="elsewhere 1 2.0")  # only its signs of life tell of a worker on another host
    assert rescue(own) == []
    assert claim(own, job.id) is None
    note(own, job.id, heartbeat=get_job(own, job.id).heartbeat - ORPHAN_S - 1)
    assert [one.id for one in rescue(own)] == [job.id], "nor is one that is dead taken for alive"


def test_signs_of_life_have_the_time_of_the_graph(
    own: Stores, tmp_path: Path, jump: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.lease.BEAT_S", 0.05)
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    first = get_job(own, job.id).heartbeat
    with beating(own, job.id):
        end = time.monotonic() + 20
        while get_job(own, job.id).heartbeat == first and time.monotonic() < end:
            time.sleep(0.05)
    assert 0 < get_job(own, job.id).heartbeat - first < 60


def test_a_lock_is_neither_lost_nor_kept_for_ever(own: Stores, jump: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kg.graph.locks.socket.gethostname", lambda: threading.current_thread().name)  # two hosts
    refused: list[str] = []

    def other() -> None:
        try:
            with held(own.graph, "clock", wait_s=0.3):
                refused.append("")
        except JobError as error:
            refused.append(error.message)

    with held(own.graph, "clock", lease_s=30) as lock:
        thread = threading.Thread(target=other, name="other-host")
        thread.start()
        thread.join()
        lock.check()
    assert "the lock 'clock' is held by process" in refused[0]
    other()
    assert refused[1] == "", "it was given back"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are told apart by epoch seconds")
@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S], ids=["forward", "back"])
def test_who_lives_on_this_host_keeps_jobs_and_locks_through_a_jump(
    own: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    claimed = claim(own, job.id)
    assert claimed is not None
    assert claimed.worker.startswith(f"{socket.gethostname()} {os.getpid()} ")
    with held(own.graph, "clock", lease_s=30) as lock:
        move_the_clock(monkeypatch, seconds)
        assert rescue(own) == []
        monkeypatch.setattr("workers.lease._me", lambda: "another 1 2.0")
        assert claim(own, job.id) is None
        with pytest.raises(JobError, match="the lock 'clock' is held by process"), held(own.graph, "clock", wait_s=0.3):
            pass
        lock.check()


def test_when_the_clock_of_the_graph_jumps_a_living_worker_loses_its_job(
    own: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    assert claim(own, job.id) is not None
    at = get_job(own, job.id).heartbeat + ORPHAN_S + 1
    monkeypatch.setattr("workers.jobs.graph_time", lambda graph: at)
    assert [one.id for one in rescue(own)] == [job.id]
