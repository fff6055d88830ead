"""The relate task: SIMILAR_TO edges between entities that mean, accompany or look nearly the same."""

from __future__ import annotations

import time

from celery import Task, shared_task

from kg.graph.clock import graph_time
from kg.graph.cypher.jobs import JOB_PROGRESS
from kg.graph.edges import SOURCES, counts, settle
from kg.stores import Stores
from workers.jobs import Job, list_jobs, move
from workers.lease import note
from workers.related import NO_PAIRS, Catalogue, Note, Pairs, cooccurrence_pairs, text_pairs, visual_pairs
from workers.tasks import step

__all__ = ["relate", "relate_step"]

STEP_S = 30.0  # of encoding and of writing; then other jobs have their turn


@shared_task(bind=True, name="relate")
def relate(self: Task, job: str) -> None:
    """Take the next step of the relate job of that id."""
    step(self.app.stores, job, relate_step)


def relate_step(stores: Stores, job: Job) -> bool:
    """Bring the edges of one source after the other up to date, as far as the time of a step goes; whether there is
    more to do.

    The job's cursor counts the sources that are done. Where nothing has changed since the last job that finished, all
    are. Edges that change carry a name of what they were computed from as their `generation`.
    """
    began, at = time.monotonic(), job.cursor
    until = began + STEP_S
    catalogue = Catalogue(stores)
    generation = job.generation if at else catalogue.state
    if at == 0 and _standing(stores, generation):
        at = len(SOURCES)
    while at < len(SOURCES):
        whole = _source(stores, job, catalogue, SOURCES[at], generation, until)
        at += whole
        seconds, began = time.monotonic() - began, time.monotonic()
        progress = {"done": 0, "rejected": 0, "seconds": seconds, "cursor": at}
        [row] = stores.graph.write(JOB_PROGRESS, id=job.id, beat=graph_time(stores.graph), **progress)
        if row["j"]["state"] != "running":  # paused or cancelled meanwhile
            return False
        if at < len(SOURCES) and (not whole or time.monotonic() >= until):
            return True
    edges = sum(counts(stores.graph).values())
    note(stores, job.id, generation=generation, total=edges, done=edges, stage="")
    move(stores, job.id, ["running"], "done")
    return False


def _source(stores: Stores, job: Job, catalogue: Catalogue, source: str, generation: str, until: float) -> bool:
    """Whether its edges are all as they should be."""

    def say(stage: str) -> None:
        note(stores, job.id, generation=generation, stage=stage)

    pairs = _pairs(stores, catalogue, source, until, say)
    if pairs is None:
        return False
    edges = catalogue.edges(source, pairs, generation)
    others = sum(number for name, number in counts(stores.graph).items() if name != source)
    say(f"{source}: {len(edges.weights):,} edges")
    settled = settle(stores.graph, edges, batch=stores.settings.batch_rows, until=until)
    total = others + len(edges.weights)
    note(stores, job.id, total=total, done=max(total - settled.left, 0))
    return settled.left == 0


def _pairs(stores: Stores, catalogue: Catalogue, source: str, until: float, say: Note) -> Pairs | None:
    compute = {"text": text_pairs, "cooccurrence": cooccurrence_pairs, "visual": visual_pairs}
    if source in stores.settings.similarity_sources:
        return compute[source](catalogue, until, say)
    return NO_PAIRS


def _standing(stores: Stores, generation: str) -> bool:
    """Whether the latest finished job found the same to compute from, and its edges are all still there."""
    finished = (job for job in list_jobs(stores) if job.kind == "relate" and job.state == "done")
    latest = next(finished, None)
    if latest is None or latest.generation != generation:
        return False
    return latest.done == sum(counts(stores.graph).values())
