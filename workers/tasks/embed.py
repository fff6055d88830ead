"""The embed task: the next chunk of changes that a generation has not embedded yet."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from celery import Task, shared_task

from kg import feed
from kg.catalogue.pictures import Pictures
from kg.graph.cypher.generations import GENERATION_ADVANCE, GENERATION_STATE
from kg.graph.cypher.jobs import JOB_PROGRESS
from kg.graph.driver import Tx
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation
from workers.device import encoder_at
from workers.embedding import Reject, embed_changes
from workers.jobs import Job, move
from workers.lease import note
from workers.tasks import step

__all__ = ["embed", "embed_step"]


@shared_task(bind=True, name="embed")
def embed(self: Task, job: str) -> None:
    """Take the next step of the embed job of that id."""
    step(self.app.stores, job, embed_step)


def embed_step(stores: Stores, job: Job) -> bool:
    """Embed one chunk; whether there may be more.

    The chunk counts, in the job and for the generation, only if the generation's cursor still stands where it began.
    """
    began, settings = time.monotonic(), stores.settings
    encoder = encoder_at(Path(job.target), settings)
    generation = generations.register(
        stores,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        encoder_path=job.target,
        dim=encoder.dim,
        kinds=settings.embed_kinds,
    )
    collections = generation.collections(stores.vectors.prefix)
    if job.done >= job.total:  # the first chunk, or there is more than was counted then: counting takes time
        note(stores, job.id, generation=generation.id, total=job.done + generations.stale(stores, generation))
    changes = feed.changes(stores.graph, generation.cursor, settings.embed_chunk)
    if not changes:
        for collection in collections.values():
            stores.vectors.flush(collection)
        finish(stores, job, generation)
        return False
    pictures = Pictures.from_settings(settings)
    try:
        batch = settings.encode_batch
        rejects = embed_changes(changes, encoder, stores.vectors, collections, pictures, batch=batch)
    finally:
        pictures.close()

    def advance(tx: Tx) -> bool:
        cursor, now = changes[-1].revision, time.time()
        if not tx.run(GENERATION_ADVANCE, id=generation.id, before=generation.cursor, after=cursor, now=now):
            return False
        progress = {"done": len(changes), "rejected": len(rejects), "seconds": time.monotonic() - began}
        tx.run(JOB_PROGRESS, id=job.id, cursor=cursor, beat=now, **progress)
        return True

    if not stores.graph.transaction(advance):
        return False  # another worker has done the same chunk, and goes on
    record(stores, job, rejects)
    return True


def finish(stores: Stores, job: Job, generation: Generation) -> None:
    """A generation that is complete for the first time is a shadow, or live where none is yet."""
    stores.graph.write(GENERATION_STATE, id=generation.id, before="building", after="shadow", now=time.time())
    if generations.live(stores) is None:
        generations.promote(stores, generation.id)
    move(stores, job.id, ["running"], "done")


def record(stores: Stores, job: Job, rejects: Sequence[Reject]) -> None:
    """Add the rejects to the job's file."""
    if rejects:
        with (stores.home.log / f"{job.id}.rejects.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(reject.json(), ensure_ascii=False) + "\n" for reject in rejects)
