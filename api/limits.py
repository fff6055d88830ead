"""How often one client may ask: a token bucket for each, refilled evenly over the minute."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from kg.errors import RateLimited

__all__ = ["RateLimit"]


class RateLimit:
    """Args:
    per_minute: requests of one client a minute, also the burst it may start with; 0 for no limit.
    clients: how many are remembered, the longest silent forgotten first.
    """

    def __init__(self, per_minute: int, *, clients: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clients, self._clock = per_minute, clients, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (tokens left, at)

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the client has none left; `detail["retry_after_s"]` says when it has one again.
        """
        if not self.per_minute:
            return
        now, rate = self._clock(), self.per_minute / 60
        left, at = self._buckets.pop(client, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - at) * rate)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > self.clients:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = round((1 - left) / rate + 0.05, 1)
            raise RateLimited(
                f"more than {self.per_minute} requests a minute from one client",
                hint=f"try again in {wait} s",
                retry_after_s=wait,
            )
