"""Milliseconds by step, for the replies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kg.tracing import span

__all__ = ["Clock", "shared"]


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
        self.add(step, time.perf_counter() - start)

    def add(self, step: str, seconds: float) -> None:
        """What a step took that several share."""
        self._steps[step] = self._steps.get(step, 0.0) + seconds

    def report(self) -> dict[str, float]:
        """Step → ms, and the `total` since the start."""
        steps = {**self._steps, "total": time.perf_counter() - self._start}
        return {name: round(1000 * seconds, 2) for name, seconds in steps.items()}


@contextmanager
def shared(clocks: Sequence[Clock], step: str) -> Iterator[None]:
    """A step taken once for several: it counts for each."""
    start = time.perf_counter()
    with span(step):
        yield
    for clock in clocks:
        clock.add(step, time.perf_counter() - start)
