"""Tells the workers how fast this process answers searches: the 95th percentile of the last seconds, from the same
histogram that Prometheus reads."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable

from api.metrics import INSTANCES_SECONDS, SEARCH_SECONDS
from kg.errors import SkugraphError
from kg.load import forget, report
from kg.stores import Stores

__all__ = ["LoadReporter", "percentile"]

EVERY_S = 3.0
SHARE = 0.95
log = logging.getLogger("skugraph.api")


class LoadReporter(threading.Thread):
    """Writes the figure into the graph now and then, while there are searches; `stop` ends it.

    Args:
        stores: opens them; asked anew each time, so that they may be down at first.
    """

    def __init__(self, stores: Callable[[], Stores]) -> None:
        super().__init__(name="load", daemon=True)
        self.stores = stores
        self.process = f"{socket.gethostname()} {os.getpid()}"
        self._over = threading.Event()
        self._seen = counts()

    def run(self) -> None:
        while not self._over.wait(EVERY_S):
            try:
                self.tell()
            except SkugraphError as error:
                log.warning("load not told: %s", error)

    def tell(self) -> float | None:
        """What is told: ms, or None where nothing was searched since the last time."""
        now = counts()
        fresh = {bound: count - self._seen.get(bound, 0.0) for bound, count in now.items()}
        self._seen = now
        found = percentile(fresh, SHARE)
        if found is not None:
            report(self.stores().graph, self.process, 1000 * found)
        return None if found is None else 1000 * found

    def stop(self) -> None:
        self._over.set()
        if self.is_alive():
            self.join()
        try:
            forget(self.stores().graph, self.process)
        except SkugraphError as error:
            log.warning("load not taken back: %s", error)


def counts() -> dict[float, float]:
    """Upper bound in seconds → searches that took no longer, so far, of all plans."""
    found: dict[float, float] = {}
    for histogram in (SEARCH_SECONDS, INSTANCES_SECONDS):
        for metric in histogram.collect():
            for sample in metric.samples:
                if sample.name.endswith("_bucket"):
                    bound = float(sample.labels["le"])
                    found[bound] = found.get(bound, 0.0) + sample.value
    return found


def percentile(cumulative: dict[float, float], share: float) -> float | None:
    """Between the bounds in proportion, as Prometheus' `histogram_quantile`; what lies beyond the last bound counts as
    that bound. None where nothing is counted."""
    bounds = sorted(cumulative)
    total = cumulative[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    low, below = 0.0, 0.0
    for bound in bounds:
        if cumulative[bound] >= share * total:
            if bound == float("inf"):
                return low
            inside = cumulative[bound] - below
            return low + (bound - low) * (share * total - below) / inside if inside else bound
        low, below = bound, cumulative[bound]
    return low
