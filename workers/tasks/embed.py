"""The embed task: the next changes that a generation has not embedded yet."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from celery import Task, shared_task
from celery.worker import state

from kg.catalogue.pictures import Pictures
from kg.feed import changes
from kg.graph.cypher.generations import GENERATION_ADVANCE, GENERATION_STATE
from kg.graph.cypher.jobs import JOB_PROGRESS
from kg.graph.driver import Tx
from kg.stores import Stores
from kg.tracing import adopt, here
from kg.vectors import generations, switching
from kg.vectors.generations import Generation
from workers.device import encoder_at
from workers.embedding import Chunk, Reject, embed_chunks
from workers.jobs import Job, move, parse
from workers.lease import note
from workers.metrics import PRODUCTS, REJECTS, count_stages
from workers.rows import region_rule
from workers.stages import Stages
from workers.tasks import step

__all__ = ["embed", "embed_step"]

STEP_S = 30.0  # then other jobs have their turn; between two steps the overlap of the stages is lost


@shared_task(bind=True, name="embed")
def embed(self: Task, job: str) -> None:
    """Take the next step of the embed job of that id."""
    step(self.app.stores, job, embed_step)


def embed_step(stores: Stores, job: Job, *, stages: Stages | None = None) -> bool:
    """Embed chunk after chunk for a while; whether there may be more.

    A chunk counts, in the job and for the generation, only if the generation's cursor still stands where it began.
    After each one the job's state is looked at, so that pausing or cancelling it stops the work there.
    """
    settings, clock = stores.settings, stages or Stages()
    encoder = encoder_at(Path(job.target), settings)
    regions = region_rule(encoder, settings.embed_regions, settings.embed_region_score)
    generation = generations.register(
        stores,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        encoder_path=job.target,
        dim=encoder.dim,
        kinds=settings.embed_kinds,
        regions=regions.key if regions else "",
    )
    # The first chunk, or there is more than was counted then: counting takes time.
    if job.done >= job.total or job.generation != generation.id:
        note(stores, job.id, generation=generation.id, total=job.done + generations.stale(stores, generation))
    feed = _Feed(stores, generation, time.monotonic() + STEP_S, clock)
    progress = _Progress(stores, job, generation)
    pictures = Pictures.from_settings(settings)
    try:
        with clock("pipeline"):
            whole = embed_chunks(
                feed.chunks(),
                encoder,
                stores.vectors,
                generation.collections(stores.vectors.prefix),
                pictures,
                batch=settings.encode_batch,
                commit=progress.commit,
                regions=regions,
                stages=clock,
            )
    finally:
        pictures.close()
        if stages is None:
            count_stages(clock)
    if not whole:
        return False  # paused, or over, or another worker has done the same chunk, and goes on
    if feed.exhausted:
        for collection in generation.collections(stores.vectors.prefix).values():
            stores.vectors.flush(collection)
        finish(stores, job, generation)
    return not feed.exhausted


class _Feed:
    """Changes of the catalogue that a generation lacks, the next chunk read while one is worked at."""

    def __init__(self, stores: Stores, generation: Generation, until: float, stages: Stages) -> None:
        self.stores, self.cursor, self.until, self.stages = stores, generation.cursor, until, stages
        self.exhausted = False

    def chunks(self) -> Iterator[Chunk]:
        """Chunk after chunk until there are no more, or it is time to let others have the worker."""
        with ThreadPoolExecutor(1, "feed", initializer=adopt, initargs=(here(),)) as reader:
            chunk = self._read(self.cursor)
            while chunk.changes:
                following = reader.submit(self._read, chunk.changes[-1].revision)
                yield chunk
                if time.monotonic() > self.until or state.should_stop is not None:
                    return
                chunk = following.result()
            self.exhausted = True

    def _read(self, after: int) -> Chunk:
        with self.stages("graph"):
            return Chunk(after, changes(self.stores.graph, after, self.stores.settings.embed_chunk))


class _Progress:
    """Writes down what is done of a job."""

    def __init__(self, stores: Stores, job: Job, generation: Generation) -> None:
        self.stores, self.job, self.generation, self.since = stores, job, generation, time.monotonic()

    def commit(self, chunk: Chunk, rejects: Sequence[Reject]) -> bool:
        """Move the cursor over the chunk; whether it was this worker that did, and the job is still to go on."""
        now, seconds = time.time(), time.monotonic() - self.since
        cursor = chunk.changes[-1].revision
        values = {"done": len(chunk.changes), "rejected": len(rejects), "seconds": seconds}

        def advance(tx: Tx) -> Job | None:
            if not tx.run(GENERATION_ADVANCE, id=self.generation.id, before=chunk.before, after=cursor, now=now):
                return None
            return parse(tx.run(JOB_PROGRESS, id=self.job.id, cursor=cursor, beat=now, **values)[0]["j"])

        job = self.stores.graph.transaction(advance)
        if job is None:
            return False
        self.since += seconds
        PRODUCTS.inc(len(chunk.changes))
        REJECTS.inc(len(rejects))
        record(self.stores, job, rejects)
        return job.state == "running"


def finish(stores: Stores, job: Job, generation: Generation) -> None:
    """A generation that is complete for the first time is a shadow, or live where none is yet."""
    stores.graph.write(GENERATION_STATE, id=generation.id, before="building", after="shadow", now=time.time())
    if generations.live(stores) is None:
        switching.promote(stores, generation.id)
    move(stores, job.id, ["running"], "done")


def record(stores: Stores, job: Job, rejects: Sequence[Reject]) -> None:
    """Add the rejects to the job's file."""
    if rejects:
        with (stores.home.log / f"{job.id}.rejects.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(reject.json(), ensure_ascii=False) + "\n" for reject in rejects)
