"""The follow task: a generation that is kept embeds what changed since it was complete."""

from __future__ import annotations

from pathlib import Path

from celery import Task, shared_task

from kg.stores import Stores
from kg.vectors import generations
from workers.device import encoder_at
from workers.filling import complete, fill
from workers.following import follow_others
from workers.jobs import Job, move
from workers.rows import noted_rule
from workers.tasks import step

__all__ = ["follow", "follow_step"]


@shared_task(bind=True, name="follow")
def follow(self: Task, job: str) -> None:
    """Take the next step of the follow job of that id."""
    step(self.app.stores, job, follow_step)


def follow_step(stores: Stores, job: Job) -> bool:
    """Embed chunk after chunk for a while; whether there may be more. Whatever the settings say by now, regions are
    chosen as the generation began with.

    Raises:
        NotFound: there is no such generation any more.
        EncoderMismatch: its checkpoint is another one now.
    """
    generation = generations.get(stores, job.target)
    if generation.state == "retired":
        move(stores, job.id, ["running"], "cancelled", error=f"generation {generation.id} is retired")
        return False
    encoder = encoder_at(Path(generation.encoder_path), stores.settings)
    generations.check_encoder(generation, encoder.name, encoder.fingerprint)
    known = fill(stores, job, encoder, generation, noted_rule(encoder, generation.regions))
    if known:
        complete(stores, generation)
        move(stores, job.id, ["running"], "done")
        follow_others(stores, generation.id)
    return not known
