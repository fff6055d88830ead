"""Milliseconds by step, for the replies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from kg.tracing import span

__all__ = ["Clock"]


class Clock:
    """Starts when it is made; a step taken again adds to its time."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._steps: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        with span(step):
            yield
        self._steps[step] = self._steps.get(step, 0.0) + time.perf_counter() - start

    def report(self) -> dict[str, float]:
        """Step → ms, and the `total` since the start."""
        steps = {**self._steps, "total": time.perf_counter() - self._start}
        return {name: round(1000 * seconds, 2) for name, seconds in steps.items()}
