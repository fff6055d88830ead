"""Clocks that jump: locks and signs of life are timed by the graph's own clock, so that the clock of a worker's host,
which may be set at any time, decides nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from kg.errors import JobError
from kg.graph.locks import held
from kg.stores import Stores
from tests.conftest import apart
from tests.tiny_encoder import write_tiny
from workers.jobs import ORPHAN_S, get_job, submit_embed
from workers.lease import beating, claim, note, rescue

DAY_S = 86_400.0


@pytest.fixture
def own(stores: Stores, tmp_path: Path) -> Stores:
    return apart(stores, tmp_path / "home")


@pytest.fixture(params=[DAY_S, -DAY_S], ids=["forward", "back"])
def jump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the clock of this process is a day off."""
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
