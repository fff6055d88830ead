"""The switch task: promote, roll back or retire a generation."""

from __future__ import annotations

from celery import Task, shared_task

from kg.stores import Stores
from kg.vectors import switching
from workers.following import follow_others
from workers.jobs import Job, move
from workers.lease import note
from workers.tasks import step

__all__ = ["switch", "switch_step"]


@shared_task(bind=True, name="switch")
def switch(self: Task, job: str) -> None:
    """Do the switch job of that id: promote, roll back or retire a generation."""
    step(self.app.stores, job, switch_step)


def switch_step(stores: Stores, job: Job) -> bool:
    """One of the commands of `kg.vectors.switching`, with the guards that it has. Done again after its worker died, it
    does nothing twice. Generations that lack changes follow.

    Raises:
        What the command raises.
    """
    action, _, generation = job.target.partition(" ")
    asked = {name: job.asked.get(name, "") for name in ("by", "reason")}
    if action == "rollback":
        found = switching.rollback(stores, leaving=job.asked.get("leaving", ""), **asked)
    elif action == "promote":
        order = {name: job.asked[name] for name in ("replacing", "since") if name in job.asked}
        found = switching.promote(stores, generation, force=bool(job.asked.get("force")), **asked, **order)
    else:
        found = switching.retire(stores, generation, force=bool(job.asked.get("force")), **asked)
    note(stores, job.id, generation=found.id, total=1, done=1)
    move(stores, job.id, ["running"], "done")
    if action != "retire":
        follow_others(stores)
    return False
