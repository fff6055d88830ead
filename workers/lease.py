"""What the worker at a job does with it: claim it, show signs of life, write down what it learns, rescue orphans."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kg.errors import StoreDown
from kg.graph.cypher.jobs import JOB_BEAT, JOB_CLAIM, JOB_SET, JOBS_ACTIVE
from kg.processes import started_at
from kg.stores import Stores
from workers.jobs import Job, is_orphan, now, parse, requeue

__all__ = ["beating", "claim", "note", "rescue"]

BEAT_S = 5.0


def claim(stores: Stores, job: str) -> Job | None:
    """The job, now running here; None where it is paused, over or gone."""
    rows = stores.graph.write(JOB_CLAIM, id=job, worker=_me(), now=now(), beat=time.time())
    return parse(rows[0]["j"]) if rows else None


@contextmanager
def beating(stores: Stores, job: str) -> Iterator[None]:
    """Signs of life in the graph for the time of the block."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_S):
            try:
                stores.graph.write(JOB_BEAT, id=job, beat=time.time())
            except StoreDown:
                continue  # the work itself meets the same store and says so

    thread = threading.Thread(target=beat, name=f"beat-{job}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def note(stores: Stores, job: str, **values: Any) -> Job:
    """Write down what the worker at the job has learned of it."""
    return parse(stores.graph.write(JOB_SET, id=job, values=values)[0]["j"])


def rescue(stores: Stores) -> list[Job]:
    """Send the messages anew of open jobs whose worker is gone, or that nobody has taken for long."""
    orphans = [job for row in stores.graph.read(JOBS_ACTIVE) if is_orphan(job := parse(row["j"]))]
    for job in orphans:
        requeue(stores, job)
    return orphans


def _me() -> str:
    return f"{socket.gethostname()} {os.getpid()} {started_at(os.getpid())}"
