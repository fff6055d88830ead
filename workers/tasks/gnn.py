"""The gnn task: a graph encoder trained on the entity graph, and the vectors that it gives the entities."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from celery import Task, shared_task
from celery.worker import state

import encoders
from encoders.graph.config import load_graph_config
from kg import entity_vectors
from kg.errors import BadInput
from kg.graph.clock import graph_time
from kg.graph.cypher.jobs import JOB_PROGRESS
from kg.stores import Stores
from workers.entity_graph import export
from workers.jobs import Job, get_job, gnn_target, move
from workers.lease import note
from workers.tasks import step

if TYPE_CHECKING:
    from encoders.graph_encoder import GraphEncoder

__all__ = ["gnn", "gnn_step"]

FOLDER = "entities-"  # first part of a checkpoint's name among the home's models
LOOK_S = 1.0  # how often a training looks whether it is still wanted
KEPT = 2  # checkpoints: the live one, and the one before, which another process may just be opening
# Shares of the work, for the progress that is shown.
EXPORT, TRAINING = 0.2, 0.9


@shared_task(bind=True, name="gnn")
def gnn(self: Task, job: str) -> None:
    """Do the gnn job of that id: vectors of all entities, from their texts and the edges between them."""
    step(self.app.stores, job, gnn_step)


class _Stopped(Exception):
    """The job was paused or cancelled, or the worker is to end."""


def gnn_step(stores: Stores, job: Job) -> bool:
    """Export, train, write, mark. What an earlier run has done of the very same task is taken from there: nothing is
    trained twice, and nothing is written where nothing changed. Whether the job is to be taken up again.
    """
    began = time.monotonic()
    name, seed = gnn_target(job.target)
    config, look = load_graph_config(name), _Look(stores, job)
    try:
        at = entity_vectors.edges_at(stores)  # before the export: what changes meanwhile makes stale
        graph = export(stores, look.at(0, EXPORT, "texts"))
        look.total = len(graph.keys)
        from encoders.graph_encoder import task_of, train_graph_encoder  # torch, in the worker only

        task = task_of(graph, config, seed)
        folder = stores.home.models / f"{FOLDER}{task[:10]}"
        encoder = _kept(folder, task, stores.settings.device)
        if encoder is None:
            encoder = train_graph_encoder(
                graph,
                config,
                seed=seed,
                device=stores.settings.device,
                on_progress=look.at(EXPORT, TRAINING, "training"),
            )
            encoder.save_pretrained(folder)
        note(stores, job.id, generation=encoder.fingerprint[:10])
        if not _standing(stores, encoder.fingerprint, len(graph.keys)):
            entity_vectors.write(
                stores,
                fingerprint=encoder.fingerprint,
                encoder_path=folder,
                keys=graph.keys,
                types=graph.types,
                vectors=encoder.vectors,
                edges_at=at,
                on_progress=look.at(TRAINING, 1, "vectors"),
            )
        elif (behind := entity_vectors.staleness(stores)) is not None and behind.stale:
            entity_vectors.mark(stores, graph.keys, at)  # edges came and went, and are as they were
    except _Stopped:
        return True
    _forget(stores.home.models, folder)
    note(stores, job.id, stage="", total=len(graph.keys), done=0)
    progress = {"done": len(graph.keys), "rejected": 0, "seconds": time.monotonic() - began, "cursor": at}
    stores.graph.write(JOB_PROGRESS, id=job.id, beat=graph_time(stores.graph), **progress)
    move(stores, job.id, ["running"], "done")
    return False


class _Look:
    """Says how far the job is, and looks whether it is still to go on."""

    def __init__(self, stores: Stores, job: Job) -> None:
        self.stores, self.job, self.last, self.total = stores, job, 0.0, 0

    def at(self, first: float, last: float, stage: str) -> Callable[[int, int], None]:
        """Progress of one part of the work, from one share of the whole to another.

        What comes back raises `_Stopped` where the job is not to go on.
        """

        def tell(done: int, of: int) -> None:
            if time.monotonic() - self.last < LOOK_S:
                return
            self.last = time.monotonic()
            if state.should_stop is not None or get_job(self.stores, self.job.id).state != "running":
                raise _Stopped
            total = self.total or of
            share = first + (last - first) * done / max(of, 1)
            note(self.stores, self.job.id, stage=stage, total=total, done=int(total * share))

        return tell


def _kept(folder: Path, task: str, device: str) -> GraphEncoder | None:
    """What an earlier run of the same task has trained; None where there is none, or it is not whole."""
    try:
        found = encoders.load_graph_encoder(folder, device=device)
    except BadInput:  # NotFound too
        return None
    return found if found.task == task else None


def _standing(stores: Stores, fingerprint: str, count: int) -> bool:
    """Whether these very vectors are live and all there."""
    live = entity_vectors.live(stores)
    return live is not None and live.fingerprint == fingerprint and stores.vectors.count(live.collection) == count


def _forget(models: Path, live: Path) -> None:
    """Remove checkpoints that nobody can still be opening: all but the live one and the latest before it."""
    os.utime(live)
    found = sorted(models.glob(f"{FOLDER}*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in found[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
