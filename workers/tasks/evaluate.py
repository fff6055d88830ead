"""The evaluate task: how much better or worse a generation finds things than the live one."""

from __future__ import annotations

from celery import Task, shared_task

from kg.stores import Stores
from workers.jobs import Job, move
from workers.lease import note
from workers.orders import Judged
from workers.shadow import evaluate as measure
from workers.tasks import step

__all__ = ["evaluate", "evaluate_step"]


@shared_task(bind=True, name="evaluate")
def evaluate(self: Task, job: str) -> None:
    """Do the evaluate job of that id: a generation in the shadow against the live one, on judged queries."""
    step(self.app.stores, job, evaluate_step)


def evaluate_step(stores: Stores, job: Job) -> bool:
    """The whole of it; what was found is kept on the generation, and all of it in the home's log folder.

    Raises:
        BadInput, JobError, EncoderMismatch: see `workers.shadow.evaluate`.
    """
    note(stores, job.id, generation=job.target, stage="evaluating")
    found = measure(stores, job.target, Judged(**job.asked["judged"]), report=stores.home.log / f"{job.id}.json")
    note(stores, job.id, total=found["queries"], done=found["queries"], stage="")
    move(stores, job.id, ["running"], "done")
    return False
