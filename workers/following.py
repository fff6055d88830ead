"""Writing what changes to every generation that is kept: the live one, those in its shadow, the one to go back to.

Each has its own cursor in the change feed. Whichever embeds a change first, the others get a job for it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kg.errors import SkugraphError
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation
from workers.jobs import Job, list_jobs
from workers.orders import submit_follow

__all__ = ["behind", "follow_others"]

AGAIN_AFTER = timedelta(minutes=10)  # a generation whose last such job failed is let be for so long
log = logging.getLogger(__name__)


def behind(stores: Stores) -> list[Generation]:
    """Generations that are kept (live or shadow) and lack changes, the live one first."""
    kept = [one for one in generations.listing(stores) if one.state in ("live", "shadow")]
    return sorted((one for one in kept if generations.stale(stores, one)), key=lambda one: one.state != "live")


def follow_others(stores: Stores, but: str = "") -> list[Job]:
    """A job for each generation that is behind, but for that one. One that cannot be filled keeps nothing else from its
    work: that is logged, and the audit says what it lacks."""
    jobs: list[Job] = []
    for generation in behind(stores):
        if generation.id == but or _failed_lately(stores, generation.id):
            continue
        if not Path(generation.encoder_path).is_dir():
            log.warning("generation %s lacks changes, and its checkpoint is gone", generation.id)
            continue
        try:
            jobs.append(submit_follow(stores, generation.id))
        except SkugraphError as error:
            log.warning("generation %s cannot follow: %s", generation.id, error)
    return jobs


def _failed_lately(stores: Stores, generation: str) -> bool:
    latest = next((job for job in list_jobs(stores) if (job.kind, job.target) == ("follow", generation)), None)
    if latest is None or latest.state != "failed" or not latest.finished_at:
        return False
    return datetime.now(UTC) - datetime.fromisoformat(latest.finished_at) < AGAIN_AFTER
