"""Messages that come twice, tasks that kill their worker, stores that are away for long: on both graph engines, step by
step in this process and with worker processes."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from benchmarks.faults.soak import contents
from kg.errors import JobError, StoreDown
from kg.processes import stop
from kg.stores import Stores
from kg.vectors import generations, switching
from tests.conftest import apart
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.jobs import Job, enqueue, get_job, list_jobs, resume, submit_embed, wait
from workers.lease import TRIES, claim, note
from workers.orders import submit_reembed, submit_switch
from workers.process import start_worker
from workers.tasks import step
from workers.tasks.embed import embed_step
from workers.tasks.reembed import reembed_step
from workers.tasks.switch import switch_step

PRODUCTS = 12
POISON = """
import json, os, signal
from tests.tiny_encoder import TinyEncoder

class Poison(TinyEncoder):
    def encode_texts(self, texts, entities=None):
        os.kill(os.getpid(), signal.SIGKILL)

def load_encoder(folder, **_):
    return Poison(seed=99)
"""


@pytest.fixture
def own(stores: Stores, tmp_path: Path) -> Stores:
    """A home of this test alone, with a few products."""
    found = apart(stores, tmp_path / "home", embed_chunk=4)
    for n in range(PRODUCTS):
        put(found.graph, f"p{n:02d}", title=f"Jar number {n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    return found


def gone(stores: Stores, job: Job) -> None:
    """As if the worker at it had died: a process of this machine that runs no more."""
    note(stores, job.id, worker=f"{socket.gethostname()} {os.getpid()} 1.0", state="running")


def test_a_message_that_comes_twice_finds_another_worker_at_it(own: Stores, tmp_path: Path) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    assert claim(own, job.id) is not None
    note(own, job.id, worker="elsewhere 1 2.0")  # a worker of another host, heard of just now
    assert claim(own, job.id) is None
    step(own, job.id, embed_step)
    assert get_job(own, job.id).done == 0
    gone(own, job)
    assert claim(own, job.id) is not None, "its worker is dead: who comes takes it up"


def test_every_message_twice_and_two_workers_do_nothing_twice(own: Stores, tmp_path: Path) -> None:
    workers = [start_worker(own.settings) for _ in range(2)]
    try:
        first = submit_embed(own, write_tiny(tmp_path / "old", seconds=0.05))
        for _ in range(3):
            enqueue(own, first)
        done = wait(own, first.id, timeout_s=120)
        assert (done.state, done.done, done.total) == ("done", PRODUCTS, PRODUCTS)
        second = submit_reembed(own, write_tiny(tmp_path / "new", seed=8), promote=True)
        for _ in range(3):
            enqueue(own, second)
        rebuilt = wait(own, second.id, timeout_s=120)
        assert (rebuilt.state, rebuilt.error, rebuilt.done) == ("done", "", PRODUCTS)
        back = submit_switch(own, "rollback", by="ann")
        for _ in range(3):
            enqueue(own, back)
        assert wait(own, back.id, timeout_s=60).state == "done"
        time.sleep(1)  # the other messages find it over
        assert (get_job(own, back.id).state, generations.live_id(own)) == ("done", done.generation)
    finally:
        for worker in workers:
            stop(worker)
    for name in generations.get(own, rebuilt.generation).collections(own.vectors.prefix).values():
        found = contents(own, name)
        assert (len(found.rows), found.doubled) == (PRODUCTS, [])


def test_a_rollback_whose_worker_died_before_it_said_so_is_not_undone(own: Stores, tmp_path: Path) -> None:
    for name in ("a", "b"):
        job = submit_embed(own, write_tiny(tmp_path / name, seed=ord(name)))
        while not get_job(own, job.id).over:
            step(own, job.id, embed_step)
    first, second = (one.id for one in generations.listing(own))
    switching.promote(own, second)
    for crash in ("after the note", "before the note"):
        order = submit_switch(own, "rollback")
        assert claim(own, order.id) is not None
        switching.rollback(own, leaving=second)
        if crash == "before the note":
            own.graph.write(
                "MATCH (g:Generation) SET g.state = CASE WHEN g.id = $second THEN 'live' ELSE 'shadow' END,"
                " g.coming = CASE WHEN g.id = $first THEN '' ELSE null END",
                first=first,
                second=second,
            )
        gone(own, order)
        step(own, order.id, switch_step)
        done = get_job(own, order.id)
        assert (done.state, done.error, generations.live_id(own)) == ("done", "", first), crash
        assert {one.id: one.state for one in generations.noted(own)} == {first: "live", second: "shadow"}
        assert generations.get(own, first).previous == "", "there is no way forward by a second rollback"
        switching.promote(own, second)


@pytest.mark.parametrize("kind", ["switch", "reembed"])
def test_a_promotion_whose_worker_died_does_not_undo_a_rollback(own: Stores, tmp_path: Path, kind: str) -> None:
    """It promotes, and dies before it says so; somebody rolls back; then its message comes again."""
    work = switch_step if kind == "switch" else reembed_step
    job = submit_embed(own, write_tiny(tmp_path / "a", seed=1))
    while not get_job(own, job.id).over:
        step(own, job.id, embed_step)
    first = generations.live_id(own)
    folder = write_tiny(tmp_path / "b", seed=2)
    if kind == "switch":
        job = submit_embed(own, folder)
        while not get_job(own, job.id).over:
            step(own, job.id, embed_step)
        second = generations.listing(own)[1].id
        order = submit_switch(own, "promote", second)
    else:
        order = submit_reembed(own, folder, promote=True)
    while not get_job(own, order.id).over:
        step(own, order.id, work)
    second = generations.live_id(own)
    assert second != first
    for rolled_back in (False, True):
        if rolled_back:
            switching.rollback(own)
        own.graph.write("MATCH (j:Job {id: $id}) SET j.state = 'running'", id=order.id)
        gone(own, order)
        if rolled_back:
            with pytest.raises(JobError, match=f"{second} became live at .*, after this order, and was left"):
                step(own, order.id, work)
        else:
            step(own, order.id, work)
        assert get_job(own, order.id).state == ("failed" if rolled_back else "done")
        assert generations.live_id(own) == (first if rolled_back else second)


def test_after_a_rollback_what_is_behind_follows(own: Stores, tmp_path: Path) -> None:
    for name in ("a", "b"):
        job = submit_embed(own, write_tiny(tmp_path / name, seed=ord(name)))
        while not get_job(own, job.id).over:
            step(own, job.id, embed_step)
    first, second = (one.id for one in generations.listing(own))
    switching.promote(own, second)
    put(own.graph, "p00", title="Lamp number 0")
    step(own, submit_switch(own, "rollback").id, switch_step)
    waiting = {job.target for job in list_jobs(own) if (job.kind, job.state) == ("follow", "queued")}
    assert waiting == {first, second}


def test_a_task_that_kills_its_worker_is_given_up(own: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    folder = write_tiny(tmp_path / "bad", encoder="poison:load_encoder")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    job = submit_embed(own, folder)
    note(own, job.id, tries=TRIES - 2)  # the first of them have died already
    for _ in range(2):
        worker = start_worker(own.settings)
        assert worker.wait(60) == -signal.SIGKILL
        assert get_job(own, job.id).state == "running"
    worker = start_worker(own.settings)
    try:
        given_up = wait(own, job.id, timeout_s=60)
        assert (given_up.state, given_up.done) == ("failed", 0)
        assert f"given up: {TRIES} workers in a row did not get a chunk done" in given_up.error
        sound = wait(own, submit_embed(own, write_tiny(tmp_path / "good")).id, timeout_s=60)
        assert (sound.state, sound.done) == ("done", PRODUCTS), "the worker that gave it up goes on with other jobs"
    finally:
        stop(worker)
    assert resume(own, job.id).tries == 0, "who resumes it gives it as many tries again"


def test_a_chunk_that_is_done_makes_a_job_count_its_tries_anew(own: Stores, tmp_path: Path) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    note(own, job.id, tries=TRIES - 1)
    step(own, job.id, embed_step)
    assert (get_job(own, job.id).state, get_job(own, job.id).tries) == ("done", 0)


def test_a_store_that_is_away_for_long_puts_the_job_back(own: Stores, tmp_path: Path) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))

    def away(stores: Stores, job: Job) -> bool:
        raise StoreDown("vectors", "http://127.0.0.1:9", "refused")

    for tried in range(1, TRIES):
        step(own, job.id, away)
        back = get_job(own, job.id)
        assert (back.state, back.tries) == ("queued", tried)
        assert "vectors store at http://127.0.0.1:9 does not answer" in back.error
    step(own, job.id, away)
    assert get_job(own, job.id).state == "failed"
    resume(own, job.id)
    step(own, job.id, embed_step)
    assert (get_job(own, job.id).state, get_job(own, job.id).error) == ("done", "")
