"""Bringing one generation up to date: what changed after its cursor is embedded, chunk by chunk, within the time of a
step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from celery.worker import state

from encoders.protocol import Encoder
from kg.catalogue.pictures import Pictures
from kg.errors import EncoderMismatch, JobError
from kg.feed import changes, touch
from kg.graph.clock import graph_time
from kg.graph.cypher.feed import REJECTED, REJECTED_CLEAR
from kg.graph.cypher.generations import GENERATION_ADVANCE
from kg.graph.cypher.jobs import JOB_PROGRESS
from kg.graph.driver import Tx
from kg.graph.locks import Held, held
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

__all__ = ["complete", "fill", "registered"]

STEP_S = 30.0  # then other jobs have their turn; between two steps the overlap of the stages is lost
BUSY_S = 5.0  # another worker at the same generation is waited for so long; then other jobs have their turn
LOOK_S = 1.0  # how often it is looked whether that one is done


def registered(stores: Stores, job: Job, encoder: Encoder, *, only: str = "") -> tuple[Generation, RegionRule | None]:
    """The generation of the job's encoder under the present settings, made where there is none; how it chooses regions.
    With `only` no other than that.

    Raises:
        BadInput: the settings ask for regions, and the encoder has no detector; or for other kinds of vectors than the
            generation has.
        EncoderMismatch: it is another than `only`.
    """
    settings = stores.settings
    regions = region_rule(encoder, settings.embed_regions, settings.embed_region_score)
    name = generations.generation_id(encoder.fingerprint, regions.key if regions else "")
    if only not in ("", name):
        raise EncoderMismatch(f"job {job.id} began generation {only}, and the settings of regions now make it {name}")
    note(stores, job.id, generation=name)  # before it is there: half-built and without a job it would be a left-over
    generation = generations.register(
        stores,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        encoder_path=job.target,
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
) -> bool:
    """Embed chunk after chunk for a while; whether the generation knew every change when last looked at. If not there
    is more to do, but not for this worker where the job was paused or is over, or another has taken it up
    (`workers.tasks.step`).

    Of all workers one writes to a generation at a time. A chunk counts, in the job and for the generation, only if the
    generation's cursor still stands where it began; if not, a worker that was away for too long has lost its place to
    another, and what it wrote meanwhile is embedded again. After each chunk the job's state is looked at, so that
    pausing or cancelling it stops the work there.

    Raises:
        EncoderMismatch: the encoder is not the one that the generation's vectors were made with.
        JobError: most pictures of a chunk cannot be read (`embed_max_unreadable`).
    """
    generations.check_encoder(generation, encoder.name, encoder.fingerprint)
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(held(stores.graph, f"fill {generation.id}", wait_s=BUSY_S, poll_s=LOOK_S))
        except JobError:
            return False
        now = generations.get(stores, generation.id)  # as the one before has left it
        return _fill(stores, job, encoder, now, regions, lock, stages)


def _fill(
    stores: Stores,
    job: Job,
    encoder: Encoder,
    generation: Generation,
    regions: RegionRule | None,
    lock: Held,
    stages: Stages | None,
) -> bool:
    settings, clock = stores.settings, stages or Stages()
    # The first chunk, or there is more than was counted then: counting takes time.
    if job.done >= job.total or job.generation != generation.id:
        note(stores, job.id, generation=generation.id, total=job.done + generations.stale(stores, generation))
    feed = _Feed(stores, generation, time.monotonic() + STEP_S, lock, clock)
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
                most_unreadable=settings.embed_max_unreadable,
                stages=clock,
            )
    finally:
        pictures.close()
        if stages is None:
            count_stages(clock)
    return whole and feed.exhausted


def complete(stores: Stores, generation: Generation) -> None:
    """A generation that is complete for the first time is a shadow, or live where none is yet. Where the graph says
    that another is live, its alias was lost: that is for the audit to mend, and no way around the gates."""
    for collection in generation.collections(stores.vectors.prefix).values():
        stores.vectors.flush(collection)
    move(stores.graph, generation.id, "building", "shadow")
    others = [one for one in generations.noted(stores) if one.state == "live" and one.id != generation.id]
    if generations.live_id(stores) or others:
        return
    try:
        switching.promote(stores, generation.id, by="skugraph", reason="the first that is complete", replacing="")
    except JobError:
        if not generations.live_id(stores):  # else another was the first
            raise


class _Feed:
    """Changes of the catalogue that a generation lacks, the next chunk read while one is worked at."""

    def __init__(self, stores: Stores, generation: Generation, until: float, lock: Held, stages: Stages) -> None:
        self.stores, self.cursor, self.until, self.stages = stores, generation.cursor, until, stages
        self.lock = lock
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
                if time.monotonic() > self.until or self.lock.lost or state.should_stop is not None:
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
            # Another has moved the cursor. What this one wrote may be older, and stand in the place of what that did.
            touch(self.stores.graph, products, batch=self.stores.settings.batch_rows)
            return False
        self.since += seconds
        PRODUCTS.inc(len(chunk.changes))
        REJECTS.inc(len(rejects))
        record(self.stores, job, rejects)
        return job.state == "running" and job.worker == self.job.worker


def record(stores: Stores, job: Job, rejects: Sequence[Reject]) -> None:
    """Add the rejects to the job's file."""
    if rejects:
        with (stores.home.log / f"{job.id}.rejects.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(reject.json(), ensure_ascii=False) + "\n" for reject in rejects)
