"""What a command makes of the end of the job that it ordered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.jobs import followed, run_job
from kg.errors import JobError
from kg.stores import Stores
from kg.vectors import generations, switching
from tests.conftest import apart
from tests.tiny_encoder import write_tiny
from workers.jobs import Job, cancel, move, pause, submit_embed
from workers.lease import note
from workers.orders import submit_follow


@pytest.fixture
def own(stores: Stores, tmp_path: Path) -> Stores:
    """With a worker that runs, this process, so that none is started: it does nothing."""
    here = apart(stores, tmp_path / "home")
    here.home.write_run("worker-of-this-test", worker="this one")
    return here


def fail(stores: Stores, job: str) -> Job | None:
    return move(stores, job, ["queued"], "failed", error="no room")


@pytest.mark.parametrize(
    ("end", "said"),
    [(cancel, "was cancelled at 3 of 10"), (pause, "is paused at 3 of 10"), (fail, "failed: no room")],
)
def test_only_a_job_that_is_done_is_taken_for_done(
    own: Stores, tmp_path: Path, end: Callable[[Stores, str], object], said: str
) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    note(own, job.id, done=3, total=10)
    end(own, job.id)
    with pytest.raises(JobError, match=f"job {job.id} {said}") as caught:
        run_job(own, job, quiet=True)
    assert "--resume" in caught.value.hint


def test_a_job_that_is_done_comes_back(own: Stores, tmp_path: Path) -> None:
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    move(own, job.id, ["queued"], "done")
    assert run_job(own, job, quiet=True).state == "done"


def test_a_generation_that_was_retired_meanwhile_need_not_follow(own: Stores, tmp_path: Path) -> None:
    values = {"encoder": "tiny", "fingerprint": "a" * 16, "encoder_path": tmp_path, "dim": 4, "kinds": ("text",)}
    generation = generations.register(own, **values)
    job = submit_follow(own, generation.id)
    cancel(own, job.id)
    with pytest.raises(JobError, match="was cancelled"):
        followed(own, job, quiet=True)
    switching.retire(own, generation.id)
    assert followed(own, job, quiet=True).state == "cancelled"
