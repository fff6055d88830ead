"""One module for each kind of job. A task takes the next step of one job; `step` is what they have in common."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from kg.errors import StoreDown
from kg.stores import Stores
from workers.jobs import Job, State, enqueue, move
from workers.lease import TRIES, beating, claim

__all__ = ["Interrupted", "step"]

BROKER_S = 30.0  # a broker that is away is waited for, as the stores are
log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The worker is to end, and what it has done of the step will be done again."""


def step(stores: Stores, job_id: str, work: Callable[[Stores, Job], bool]) -> None:
    """Do one chunk of a job, and send the message for the next if `work` says that there is more, or is `Interrupted`;
    that counts as a try.

    A job that was paused, cancelled or finished meanwhile, or that another worker is at by now, is left alone. Where a
    store is away for long the job goes back into the queue: workers find it there a minute later. What else `work`
    raises is written into the job, which has failed.
    """
    job = claim(stores, job_id)
    if job is None:
        return
    leave = partial(move, stores, job_id, ["running"], worker=job.worker)
    try:
        with beating(stores, job_id):
            more = work(stores, job)
        if more and leave("queued", whole=True) is not None:
            _send(stores, job)
    except Interrupted:
        if leave("queued") is not None:
            _send(stores, job)
    except StoreDown as error:
        after: State = "queued" if job.tries < TRIES else "failed"
        log.warning("job %s is %s: %s", job_id, after, error)
        leave(after, error=str(error))
    except Exception as error:
        log.exception("job %s", job_id)
        leave("failed", error=str(error) or type(error).__name__)
        raise


def _send(stores: Stores, job: Job) -> None:
    """The message for the next step. Where the broker is away for long it is left to `workers.lease.rescue`."""
    end = time.monotonic() + BROKER_S
    while True:
        try:
            return enqueue(stores, job)
        except StoreDown as error:
            if time.monotonic() > end:
                log.warning("job %s waits in the queue without a message: %s", job.id, error)
                return
        time.sleep(1)
