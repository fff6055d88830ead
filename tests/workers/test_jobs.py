"""The job state machine, on both graph engines; no worker runs here."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from api.cli.jobs import line
from kg.errors import JobError, NotFound, StoreDown
from kg.home import Home
from kg.stores import Stores
from tests.tiny_encoder import write_tiny
from workers.jobs import (
    ORPHAN_S,
    Job,
    State,
    cancel,
    get_job,
    list_jobs,
    move,
    pause,
    resume,
    submit_embed,
    submit_relate,
    wait,
)
from workers.lease import claim, note, rescue
from workers.orders import submit_reembed
from workers.process import workers_alive
from workers.tasks import Interrupted, step


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    """The stores of the session with a broker folder of this test alone."""
    home = Home(tmp_path / "home").create()
    return Stores(stores.settings.model_copy(update={"home": home.root}), stores.graph, stores.vectors_uri)


def messages(stores: Stores) -> int:
    """Messages that no worker has taken yet."""
    return len(list((stores.home.broker / "messages").iterdir()))


def submit(stores: Stores, tmp_path: Path) -> Job:
    return submit_embed(stores, write_tiny(tmp_path / "tiny"))


def test_a_new_job_is_queued_with_one_message(stores: Stores, tmp_path: Path) -> None:
    job = submit(stores, tmp_path)
    assert (job.kind, job.state, job.target) == ("embed", "queued", str(tmp_path / "tiny"))
    assert messages(stores) == 1
    assert get_job(stores, job.id) == job
    assert submit(stores, tmp_path).id == job.id
    assert messages(stores) == 1, "its message still waits"
    relate = submit_relate(stores)
    assert {j.id for j in list_jobs(stores)} == {job.id, relate.id}


def test_an_open_job_is_found_behind_many_newer_ones(stores: Stores, tmp_path: Path) -> None:
    job = submit(stores, tmp_path)
    others = [{"id": f"relate-{n}", "at": f"9999-01-01T00:00:{n:02}"} for n in range(60)]
    stores.graph.write(
        "UNWIND $rows AS row CREATE (:Job {id: row.id, kind: 'relate', state: 'done', created_at: row.at})", rows=others
    )
    assert job.id not in {one.id for one in list_jobs(stores)}
    assert submit(stores, tmp_path).id == job.id
    assert messages(stores) == 1


def test_an_unknown_job_is_not_found(stores: Stores) -> None:
    for ask in (get_job, pause, resume, cancel, wait):
        with pytest.raises(NotFound, match="embed-nope"):
            ask(stores, "embed-nope")
    assert claim(stores, "embed-nope") is None


def test_commands_move_only_from_some_states(stores: Stores, tmp_path: Path) -> None:
    job = submit(stores, tmp_path)
    allowed: dict[State, set[str]] = {
        "queued": {"pause", "cancel"},
        "running": {"pause", "cancel"},
        "paused": {"resume", "cancel"},
        "failed": {"resume"},
        "cancelled": {"resume"},
        "done": set(),
    }
    for state, commands in allowed.items():
        for name, command in (("pause", pause), ("resume", resume), ("cancel", cancel)):
            stores.graph.write("MATCH (j:Job) SET j.state = $state", state=state)
            if name in commands:
                assert command(stores, job.id).state != state
            else:
                with pytest.raises(JobError, match=f"{job.id} is {state}"):
                    command(stores, job.id)
                assert get_job(stores, job.id).state == state


def test_claim_takes_only_what_is_to_be_done(stores: Stores, tmp_path: Path) -> None:
    job = submit(stores, tmp_path)
    for state, taken in (("queued", True), ("running", True), ("paused", False), ("done", False), ("failed", False)):
        stores.graph.write("MATCH (j:Job) SET j.state = $state", state=state)
        assert (claim(stores, job.id) is not None) == taken, state
    assert move(stores, job.id, ["running"], "done") is None


def test_wait_gives_up_after_its_time(stores: Stores, tmp_path: Path) -> None:
    job = submit(stores, tmp_path)
    with pytest.raises(JobError, match="queued at 0 of 0"):
        wait(stores, job.id, timeout_s=0.1)


def test_rescue_sends_orphans_again(stores: Stores, tmp_path: Path) -> None:
    job = submit(stores, tmp_path)
    assert rescue(stores) == []
    note(stores, job.id, heartbeat=job.heartbeat - ORPHAN_S - 1)  # queued, and nobody came for long
    assert [j.id for j in rescue(stores)] == [job.id]
    assert messages(stores) == 2
    assert rescue(stores) == [], "given time to be taken up"
    claim(stores, job.id)
    assert rescue(stores) == [], "its worker, this process, lives"
    note(stores, job.id, worker=get_job(stores, job.id).worker.rpartition(" ")[0] + " 1.0")  # the pid before a restart
    assert [j.id for j in rescue(stores)] == [job.id]
    assert get_job(stores, job.id).state == "queued"
    assert messages(stores) == 3
    assert rescue(stores) == []


@pytest.mark.parametrize("error", [None, Interrupted(), StoreDown("graph", "bolt://x", "away"), JobError("no")])
def test_a_worker_that_lost_a_job_does_not_take_it_from_who_has_it(
    stores: Stores, tmp_path: Path, error: Exception | None
) -> None:
    job = submit(stores, tmp_path)

    def work(_: Stores, taken: Job) -> bool:
        note(stores, taken.id, worker="elsewhere 1 1.0")
        if error is not None:
            raise error
        return True

    with contextlib.suppress(JobError):
        step(stores, job.id, work)
    now = get_job(stores, job.id)
    assert (now.state, now.worker, now.error) == ("running", "elsewhere 1 1.0", "")
    assert messages(stores) == 1


def test_rate_and_eta(stores: Stores, tmp_path: Path) -> None:
    job = submit(stores, tmp_path)
    assert (job.rate, job.eta_s) == (0.0, None)
    assert note(stores, job.id, done=30, total=90, busy_s=10.0).eta_s == pytest.approx(20)


def test_a_broker_that_is_not_there_is_named(stores: Stores, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    away = stores.settings.model_copy(update={"broker_url": "redis://:s3cret@127.0.0.1:9/0"})
    with pytest.raises(StoreDown, match=r"broker store at redis://.*127\.0\.0\.1:9") as caught:
        submit(Stores(away, stores.graph, stores.vectors_uri), tmp_path)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(StoreDown, match="broker store at"):
        workers_alive(away)


def test_a_job_keeps_its_estimate_beside_what_it_took(stores: Stores, tmp_path: Path) -> None:
    job = submit_reembed(stores, write_tiny(tmp_path / "tiny"), estimated_s=12.5)
    assert (job.estimated_s, job.json()["estimated_s"]) == (12.5, 12.5)
    assert "estimated" not in line(job), "how long it takes is known at its end"
    note(stores, job.id, done=30, total=30, busy_s=10.0)
    assert "10.0 s of work, estimated 12.5 s" in line(move(stores, job.id, ["queued"], "done") or job)
    assert "estimated" not in line(note(stores, submit(stores, tmp_path).id, state="done", busy_s=1.0))
