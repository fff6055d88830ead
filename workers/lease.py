"""What the worker at a job does with it: claim it, show signs of life, write down what it learns, rescue orphans."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kg.errors import StoreDown
from kg.graph.clock import graph_time
from kg.graph.cypher.jobs import JOB, JOB_BEAT, JOB_CLAIM, JOB_SET, JOBS_ACTIVE
from kg.processes import started_at
from kg.stores import Stores
from workers.jobs import Job, is_orphan, move, now, parse, requeue

__all__ = ["TRIES", "beating", "claim", "note", "rescue"]

BEAT_S = 5.0
TRIES = 5  # so often a job is taken up without a chunk of it getting done; then it is given up


def claim(stores: Stores, job: str) -> Job | None:
    """The job, now running here; None where it is paused, over or gone, where another worker that lives is at it, and
    where it has cost too many workers their lives: then it has failed, and says so."""
    found = stores.graph.read(JOB, id=job)
    if not found:
        return None
    last = parse(found[0]["j"])
    dead = last.worker if last.worker and is_orphan(stores, last) else ""
    rows = stores.graph.write(JOB_CLAIM, id=job, worker=_me(), dead=dead, now=now(), beat=graph_time(stores.graph))
    if not rows:
        return None
    claimed = parse(rows[0]["j"])
    if claimed.tries <= TRIES:
        return claimed
    why = last.error or f"the last was {last.worker}: its log may tell"
    move(
        stores, job, ["running"], "failed", error=f"given up: {TRIES} workers in a row did not get a chunk done ({why})"
    )
    return None


@contextmanager
def beating(stores: Stores, job: str) -> Iterator[None]:
    """Signs of life in the graph for the time of the block."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_S):
            try:
                stores.graph.write(JOB_BEAT, id=job, beat=graph_time(stores.graph))
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
    orphans = [job for row in stores.graph.read(JOBS_ACTIVE) if is_orphan(stores, job := parse(row["j"]))]
    for job in orphans:
        requeue(stores, job)
    return orphans


def _me() -> str:
    return f"{socket.gethostname()} {os.getpid()} {started_at(os.getpid())}"
