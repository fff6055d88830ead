"""The reembed task: a generation of another encoder beside the live one, measured, and promoted if that is wanted."""

from __future__ import annotations

import json
from pathlib import Path

from celery import Task, shared_task

from kg.stores import Stores
from kg.vectors import generations, switching
from workers.device import encoder_at
from workers.filling import complete, fill, registered
from workers.following import follow_others
from workers.jobs import Job, get_job, move
from workers.lease import note
from workers.orders import Judged, checked, order_of
from workers.shadow import evaluate
from workers.tasks import step

__all__ = ["reembed", "reembed_step"]

CATCHING_UP = "catching up"  # stage: with so much that changed while it was measured, that it could not be promoted


@shared_task(bind=True, name="reembed")
def reembed(self: Task, job: str) -> None:
    """Take the next step of the reembed job of that id."""
    step(self.app.stores, job, reembed_step)


def reembed_step(stores: Stores, job: Job) -> bool:
    """Embed chunk after chunk for a while, then measure and promote as the job says; whether there is more to do.

    What changes in the catalogue meanwhile is written to the live generation too: whenever that is behind, it gets a
    job of its own, which has its turn between two steps of this one.

    Raises:
        BadInput: this worker cannot read what it is to be measured with; nothing was begun.
        EncoderMismatch: the checkpoint is another one than when the job began.
        GateClosed: it was to be promoted, and stays below a gate. It is kept in the shadow.
    """
    if not job.generation and job.asked.get("judged"):
        checked(Judged(**job.asked["judged"]))  # who ordered it may see other folders than this worker
    encoder = encoder_at(Path(job.target), stores.settings)
    # The job names it before it is there: a worker that was killed in between has begun nothing.
    begun = next((one for one in generations.noted(stores) if one.id == job.generation), None)
    if begun is not None:
        generations.check_encoder(begun, encoder.name, encoder.fingerprint)
    generation, regions = registered(stores, job, encoder, only=begun.id if begun else "")
    follow_others(stores, generation.id)
    if not fill(stores, job, encoder, generation, regions):
        return True
    complete(stores, generation)
    finished = judge(stores, job, generation.id)
    if finished:
        note(stores, job.id, stage="")
        move(stores, job.id, ["running"], "done")
    follow_others(stores, generation.id)
    return not finished


def judge(stores: Stores, job: Job, generation: str) -> bool:
    """Measure and promote as the job says; whether that is all. It is not where the job was paused or cancelled, nor
    where the generation lacks too many changes by now to be promoted: then it catches up, and what was measured counts.
    """
    first = generations.live_id(stores) == generation  # nothing was live: there is nothing to measure it against
    if job.asked.get("promote") and not first and not job.order:
        job = note(stores, job.id, order=json.dumps(order_of(stores, generation)))
    measured = job.stage == CATCHING_UP and generations.get(stores, generation).evaluation
    if job.asked.get("judged") and not first and not measured:
        note(stores, job.id, stage="evaluating")
        evaluate(stores, generation, Judged(**job.asked["judged"]), report=stores.home.log / f"{job.id}.json")
    if get_job(stores, job.id).state != "running":
        return False
    if job.asked.get("promote") and not first:
        if generations.stale(stores, generations.get(stores, generation)) > stores.settings.rollback_max_stale:
            note(stores, job.id, stage=CATCHING_UP)
            return False
        note(stores, job.id, stage="promoting")
        reason = f"asked for with job {job.id}"
        switching.promote(stores, generation, by=job.asked.get("by", ""), reason=reason, **json.loads(job.order))
    return True
