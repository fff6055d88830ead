"""Bringing one generation up to date: what changed after its cursor is embedded, chunk by chunk, within the time of a
step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from celery.worker import state

from encoders.protocol import Encoder
from kg.catalogue.pictures import Pictures
from kg.feed import changes
from kg.graph.clock import graph_time
from kg.graph.cypher.feed import REJECTED, REJECTED_CLEAR
from kg.graph.cypher.generations import GENERATION_ADVANCE
from kg.graph.cypher.jobs import JOB_PROGRESS
from kg.graph.driver import Tx
from kg.stores import Stores
from kg.tracing import adopt, here
from kg.vectors import generations, switching
from kg.vectors.generations import Generation
from kg.vectors.states import move
from workers.embedding import Chunk, Reject, embed_chunks
from workers.jobs import Job, parse
from workers.lease import note
from workers.metrics import PRODUCTS, REJECTS, count_stages
from workers.rows import RegionRule, region_rule
from workers.stages import Stages
from workers.throttle import Throttle

__all__ = ["Filled", "complete", "fill", "registered"]

STEP_S = 30.0  # then other jobs have their turn; between two steps the overlap of the stages is lost

Filled = Literal["stopped", "more", "complete"]


def registered(stores: Stores, encoder: Encoder, encoder_path: str) -> tuple[Generation, RegionRule | None]:
    """The generation of this encoder under the present settings, made where there is none; how it chooses regions.

    Raises:
        BadInput: the settings ask for regions, and the encoder has no detector.
    """
    settings = stores.settings
    regions = region_rule(encoder, settings.embed_regions, settings.embed_region_score)
    generation = generations.register(
        stores,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        encoder_path=encoder_path,
        dim=encoder.dim,
        kinds=settings.embed_kinds,
        regions=regions.key if regions else "",
    )
    return generation, regions


def fill(
    stores: Stores,
    job: Job,
    encoder: Encoder,
    generation: Generation,
    regions: RegionRule | None,
    *,
    stages: Stages | None = None,
) -> Filled:
    """Embed chunk after chunk for a while. `stopped`: the job was paused or is over, or another worker has done the
    same chunk and goes on; `more`: there may be more; `complete`: the generation knew every change when last looked at.

    A chunk counts, in the job and for the generation, only if the generation's cursor still stands where it began.
    After each one the job's state is looked at, so that pausing or cancelling it stops the work there.

    Raises:
        EncoderMismatch: the encoder is not the one that the generation's vectors were made with.
    """
    settings, clock = stores.settings, stages or Stages()
    generations.check_encoder(generation, encoder.name, encoder.fingerprint)
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
        return "stopped"
    return "complete" if feed.exhausted else "more"


def complete(stores: Stores, generation: Generation) -> None:
    """A generation that is complete for the first time is a shadow, or live where none is yet."""
    for collection in generation.collections(stores.vectors.prefix).values():
        stores.vectors.flush(collection)
    move(stores.graph, generation.id, "building", "shadow")
    if generations.live(stores) is None:
        switching.promote(stores, generation.id, by="skugraph", reason="the first that is complete")


class _Feed:
    """Changes of the catalogue that a generation lacks, the next chunk read while one is worked at."""

    def __init__(self, stores: Stores, generation: Generation, until: float, stages: Stages) -> None:
        self.stores, self.cursor, self.until, self.stages = stores, generation.cursor, until, stages
        self.throttle = Throttle(stores, generation.id)
        self.exhausted = False

    def chunks(self) -> Iterator[Chunk]:
        """Chunk after chunk until there are no more, or it is time to let others have the worker."""
        with ThreadPoolExecutor(1, "feed", initializer=adopt, initargs=(here(),)) as reader:
            chunk = self._read(self.cursor)
            while chunk.changes:
                if not self.throttle.wait(self.until):
                    return
                following = reader.submit(self._read, chunk.changes[-1].revision)
                yield chunk
                self.throttle.spend(sum(len(change.instances) for change in chunk.changes))
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
        products = sorted(change.id for change in chunk.changes)
        unreadable = sorted(({"id": one.instance, "error": one.error} for one in rejects), key=lambda row: row["id"])

        beat = graph_time(self.stores.graph)

        def advance(tx: Tx) -> Job | None:
            if not tx.run(GENERATION_ADVANCE, id=self.generation.id, before=chunk.before, after=cursor, now=now):
                return None
            tx.run(REJECTED_CLEAR, ids=products)
            if unreadable:
                tx.run(REJECTED, rows=unreadable)
            return parse(tx.run(JOB_PROGRESS, id=self.job.id, cursor=cursor, beat=beat, **values)[0]["j"])

        job = self.stores.graph.transaction(advance)
        if job is None:
            return False
        self.since += seconds
        PRODUCTS.inc(len(chunk.changes))
        REJECTS.inc(len(rejects))
        record(self.stores, job, rejects)
        return job.state == "running"


def record(stores: Stores, job: Job, rejects: Sequence[Reject]) -> None:
    """Add the rejects to the job's file."""
    if rejects:
        with (stores.home.log / f"{job.id}.rejects.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(reject.json(), ensure_ascii=False) + "\n" for reject in rejects)
