"""A broker that dies and forgets every message: jobs go on all the same."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.rig import Keeper, redis_keeper
from kg.processes import free_port, stop
from kg.stores import Stores
from tests.conftest import apart
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers import tasks
from workers.app import make_app
from workers.jobs import ORPHAN_S, Job, get_job, submit_embed, wait
from workers.lease import note, rescue
from workers.process import start_worker

PRODUCTS = 12


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Keeper, int]]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on this machine")
    pytest.importorskip("redis")
    port = free_port()
    keeper = redis_keeper(tmp_path / "redis", port).begin()
    yield keeper, port
    keeper.end()


@pytest.fixture
def own(stores: Stores, broker: tuple[Keeper, int], tmp_path: Path) -> Stores:
    found = apart(stores, tmp_path / "home", embed_chunk=4, broker_url=f"redis://127.0.0.1:{broker[1]}/0")
    for n in range(PRODUCTS):
        put(found.graph, f"p{n:02d}", pictures=[draw(tmp_path / f"{n}.png", n)])
    return found


def messages(stores: Stores) -> int:
    with make_app(stores.settings).connection_for_read() as connection:
        return int(connection.default_channel.client.llen("encode"))


def kill(keeper: Keeper) -> None:
    """kill -9; it is started again at once, and has forgotten all."""
    assert keeper.process is not None
    before = keeper.starts
    os.kill(keeper.process.pid, signal.SIGKILL)
    while keeper.starts == before:
        time.sleep(0.02)


def more(stores: Stores, job: Job) -> bool:
    return True


def test_the_message_for_the_next_step_waits_for_a_broker_that_is_away(
    own: Stores, broker: tuple[Keeper, int], tmp_path: Path
) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    broker[0].end()
    back = redis_keeper(tmp_path / "again", broker[1])
    threading.Timer(3, back.begin).start()
    try:
        tasks.step(own, job.id, more)
        assert (get_job(own, job.id).state, get_job(own, job.id).error, messages(own)) == ("queued", "", 1)
    finally:
        back.end()


def test_without_a_broker_the_job_stays_in_the_queue_until_it_is_found(
    own: Stores, broker: tuple[Keeper, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    monkeypatch.setattr(tasks, "BROKER_S", 0.0)
    broker[0].end()
    tasks.step(own, job.id, more)
    assert (get_job(own, job.id).state, get_job(own, job.id).error) == ("queued", "")
    back = redis_keeper(tmp_path / "again", broker[1]).begin()
    try:
        note(own, job.id, heartbeat=get_job(own, job.id).heartbeat - ORPHAN_S - 1)
        assert [one.id for one in rescue(own)] == [job.id]
        assert messages(own) == 1
    finally:
        back.end()


def test_a_worker_outlives_its_broker(own: Stores, broker: tuple[Keeper, int], tmp_path: Path) -> None:
    worker = start_worker(own.settings)
    try:
        job = submit_embed(own, write_tiny(tmp_path / "slow", seconds=0.3))
        while get_job(own, job.id).done < 4:
            time.sleep(0.05)
        kill(broker[0])
        done = wait(own, job.id, timeout_s=120)
        assert (done.state, done.done, done.error) == ("done", PRODUCTS, "")
        kill(broker[0])  # idle: nothing is lost but its place in the queue
        time.sleep(1)
        put(own.graph, "p99")
        again = wait(own, submit_embed(own, tmp_path / "slow").id, timeout_s=120)
        assert (again.state, again.done) == ("done", 1)
        assert worker.poll() is None
    finally:
        stop(worker)
