"""The embed task: the next changes that a generation has not embedded yet."""

from __future__ import annotations

from pathlib import Path

from celery import Task, shared_task

from kg.stores import Stores
from workers.device import encoder_at
from workers.filling import complete, fill, registered
from workers.following import follow_others
from workers.jobs import Job, move
from workers.stages import Stages
from workers.tasks import step

__all__ = ["embed", "embed_step"]


@shared_task(bind=True, name="embed")
def embed(self: Task, job: str) -> None:
    """Take the next step of the embed job of that id."""
    step(self.app.stores, job, embed_step)


def embed_step(stores: Stores, job: Job, *, stages: Stages | None = None) -> bool:
    """Embed chunk after chunk for a while; whether there may be more. The other generations that are kept follow."""
    encoder = encoder_at(Path(job.target), stores.settings)
    generation, regions = registered(stores, job, encoder)
    known = fill(stores, job, encoder, generation, regions, stages=stages)
    if known:
        complete(stores, generation)
        move(stores, job.id, ["running"], "done")
        follow_others(stores, generation.id)
    return not known
