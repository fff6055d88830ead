"""What every request gets: an id, a log line, metrics, safe headers, and a problem document when it crashes."""

from __future__ import annotations

import logging
import re
import secrets
import time

from opentelemetry.trace import get_current_span
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import REQUEST_SECONDS, REQUESTS
from api.problems import problem

__all__ = ["Requests"]

log = logging.getLogger("skugraph.api")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# The page loads nothing from elsewhere; pictures that a user drops are shown from blob: URLs. Swagger UI sets styles.
POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Requests:
    """ASGI layer around the whole app; sets `request.state.request_id`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        get_current_span().set_attribute("request_id", request_id)  # fastapi opens it, where there is a tracer
        status, started = 500, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                styles = " 'unsafe-inline'" if scope["path"] == "/docs" else ""
                headers["Content-Security-Policy"] = f"{POLICY}; style-src 'self'{styles}"
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        sent = False

        async def watch(message: Message) -> None:
            nonlocal sent
            sent = True
            await answer(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            log.exception("request=%s crashed", request_id)
            if sent:  # too late for another answer: let the server cut the connection
                raise
            text = "an internal error; the server's log has it under this request id"
            body = problem(500, "internal", text, instance=scope["path"], request_id=request_id)
            await body(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            REQUESTS.labels(route, scope["method"], status).inc()
            REQUEST_SECONDS.labels(route).observe(seconds)
            path = scope["path"]
            log.info("request=%s %s %r status=%d ms=%.1f", request_id, scope["method"], path, status, 1000 * seconds)
