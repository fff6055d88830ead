"""How long each stage of a pipeline took, whichever thread it ran in."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stages"]


class Stages:
    """Seconds by stage; threads may share it.

    Attributes:
        wall: from start to end of a stage; stages of several threads overlap, so the sum may exceed the time passed.
        cpu: spent by the stage's own thread, without what it waited for and without threads that it started.
    """

    def __init__(self) -> None:
        self.wall: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            with self._lock:
                self.wall[stage] += wall  # type: ignore[assignment]  # a Counter counts fractions as well
                self.cpu[stage] += cpu  # type: ignore[assignment]
