"""Keeping embedding from taking what live searches need: at most so many vectors a second, and a step back while
searches are slow.

What a generation has spent is kept in the worker process, so that the rate holds across the steps of its jobs.
"""

from __future__ import annotations

import time

from celery.worker import state

from kg.load import slowest
from kg.stores import Stores

__all__ = ["Throttle"]

WAIT_STEP_S = 2.0  # a step that only waits is over after this: other jobs may have the worker
BACK_OFF_S = 60.0  # longest wait for searches between two chunks: re-embedding is slowed down, never starved
LOOK_S = 1.0  # how often the load is asked for
SLICE_S = 0.1

_free_at: dict[str, float] = {}  # generation → when its rate allows the next chunk
_waiting: dict[str, float] = {}  # generation → since when it has been waiting for searches


class Throttle:
    """What the settings `embed_max_rate` and `embed_yield_ms` ask of one generation's worker."""

    def __init__(self, stores: Stores, generation: str) -> None:
        self.stores, self.generation = stores, generation
        self.rate, self.limit_ms = stores.settings.embed_max_rate, stores.settings.embed_yield_ms
        self._looked, self._slow, self._worked = 0.0, False, False

    def spend(self, vectors: int) -> None:
        """So many are being made now."""
        self._worked = True
        _waiting.pop(self.generation, None)
        if self.rate:
            now = time.monotonic()
            _free_at[self.generation] = max(_free_at.get(self.generation, now), now) + vectors / self.rate

    def wait(self, until: float) -> bool:
        """Wait until the next chunk may begin; False where the step is over first."""
        end = until if self._worked else min(until, time.monotonic() + WAIT_STEP_S)
        while self._must_wait():
            if time.monotonic() + SLICE_S > end or state.should_stop is not None:
                return False
            time.sleep(SLICE_S)
        return True

    def _must_wait(self) -> bool:
        now = time.monotonic()
        if self.rate and now < _free_at.get(self.generation, 0.0):
            return True
        if not self.limit_ms:
            return False
        if now - self._looked > LOOK_S:
            self._looked, self._slow = now, slowest(self.stores.graph) > self.limit_ms
        if not self._slow:
            return False
        return now - _waiting.setdefault(self.generation, now) < BACK_OFF_S
