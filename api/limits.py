"""How much and how often one client may ask."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import as_problem, problem
from kg.errors import RateLimited, TooLarge

__all__ = ["BodyLimit", "RateLimit"]


class BodyLimit:
    """ASGI layer: a request says how long its body is, and it is not longer than `max_bytes`.

    The server reads no more of a body than was announced, so nothing has to be counted here.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        extra = {"instance": scope.get("path"), "request_id": scope.get("state", {}).get("request_id")}
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            error = TooLarge(f"a body of {int(length):,} bytes: the limit is {self.max_bytes:,} (request_max_mb)")
            await as_problem(error, **extra)(scope, receive, send)
        elif "transfer-encoding" in headers:
            text = "a body without Content-Length is not read"
            await problem(411, "length-required", text, **extra)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class RateLimit:
    """A token bucket for each client, refilled evenly over the minute.

    Args:
        per_minute: requests of one client a minute, also the burst it may start with; 0 for no limit.
        clients: how many are remembered, the longest silent forgotten first.
    """

    def __init__(self, per_minute: int, *, clients: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clients, self._clock = per_minute, clients, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (tokens left, at)
        self._lock = threading.Lock()

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the client has none left; `detail["retry_after_s"]` says when it has one again.
        """
        if not self.per_minute:
            return
        left, rate = self._spent(client, 1, least=1), self.per_minute / 60
        if left < 1:
            wait = round((1 - left) / rate + 0.05, 1)
            raise RateLimited(
                f"more than {self.per_minute} requests a minute from one client",
                hint=f"try again in {wait} s",
                retry_after_s=wait,
            )

    def charge(self, client: str, count: int) -> None:
        """Count more, for a request that was let in and asks as much as several: never refused, but what the client
        has not left it owes, and waits for."""
        if self.per_minute and count:
            self._spent(client, count, least=-math.inf)

    def _spent(self, client: str, count: int, *, least: float) -> float:
        """Tokens that the client had; `count` of them are gone if these were `least` or more."""
        with self._lock:
            now = self._clock()
            left, at = self._buckets.pop(client, (float(self.per_minute), now))
            left = min(self.per_minute, left + (now - at) * self.per_minute / 60)
            self._buckets[client] = (left - count if left >= least else left, now)
            if len(self._buckets) > self.clients:
                self._buckets.popitem(last=False)
        return left
