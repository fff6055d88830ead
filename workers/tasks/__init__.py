"""One module for each kind of job. A task takes the next step of one job; `step` is what they have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable

from kg.stores import Stores
from workers.jobs import Job, enqueue, get_job, move
from workers.lease import beating, claim

__all__ = ["step"]

log = logging.getLogger(__name__)


def step(stores: Stores, job_id: str, work: Callable[[Stores, Job], bool]) -> None:
    """Do one chunk of a job, and send the message for the next if `work` says that there is more.

    A job that was paused, cancelled or finished meanwhile is left alone. What `work` raises is written into the job.
    """
    job = claim(stores, job_id)
    if job is None:
        return
    try:
        with beating(stores, job_id):
            more = work(stores, job)
        if more and get_job(stores, job_id).state == "running":
            enqueue(stores, job)
    except Exception as error:
        log.exception("job %s", job_id)
        move(stores, job_id, ["running"], "failed", error=str(error) or type(error).__name__)
        raise
