"""The audit task: do graph and vectors agree, and what differs mended if that is wanted."""

from __future__ import annotations

import json
import time

from celery import Task, shared_task
from celery.worker import state

from kg import audit as agreement
from kg.stores import Stores
from workers.jobs import Job, get_job, move
from workers.lease import note
from workers.orders import submit_follow
from workers.tasks import Interrupted, step

__all__ = ["audit", "audit_step"]

SAY_S = 1.0  # how often progress is written down


@shared_task(bind=True, name="audit")
def audit(self: Task, job: str) -> None:
    """Do the audit job of that id: compare graph and vectors, and mend what differs if the job says so."""
    step(self.app.stores, job, audit_step)


def audit_step(stores: Stores, job: Job) -> bool:
    """The whole of it in one step. Between two pages the job's state is looked at, and whether the worker is to end.

    All that was found lies in the home's log folder; the job counts what was looked at, and as `rejected` the faults
    that are not mended. Generations that have something to embed again get a job for it.

    Raises:
        Interrupted: it is to begin anew, unless it was paused or cancelled.
    """
    said = 0.0

    def say(what: str, done: int, total: int | None) -> None:
        nonlocal said
        if time.monotonic() - said > SAY_S:
            said = time.monotonic()
            if state.should_stop is not None or get_job(stores, job.id).state != "running":
                raise Interrupted
            note(stores, job.id, stage=f"{what}: {done:,} of {total or 0:,}")

    report = agreement.audit(stores, repair=bool(job.asked.get("repair")), on_progress=say)
    text = json.dumps(report.json(), ensure_ascii=False, indent=1)
    (stores.home.log / f"{job.id}.json").write_text(text, encoding="utf-8")
    for generation in report.refill:
        submit_follow(stores, generation)
    note(stores, job.id, stage="", total=report.checked, done=report.checked, rejected=report.open)
    move(stores, job.id, ["running"], "done")
    return False
