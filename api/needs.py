"""What a route asks of a request: a key of the right scope, within the rate limit; and the backend."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from api.auth import Scope, is_loopback
from api.backend import Backend
from kg.errors import Forbidden

__all__ = ["Admin", "Caller", "Demand", "Ingest", "Read", "UseBackend"]

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False, description="An API key"))]


def backend(request: Request) -> Backend:
    """The backend of the app that got the request."""
    found: Backend = request.app.state.backend
    return found


UseBackend = Annotated[Backend, Depends(backend)]


def needs(scope: Scope) -> Any:  # what Depends gives is of use to fastapi only
    """Dependency that lets a request pass, or raises Unauthorised, Forbidden or RateLimited."""

    def check(request: Request, server: UseBackend, bearer: Bearer) -> None:
        token = bearer.credentials if bearer else ""
        own = bool(server.token) and hmac.compare_digest(token.encode(), server.token.encode())
        client = request.client.host if request.client else "unknown"
        if server.keys is None:
            _same_origin(request, server)
        elif not own:
            client = "key " + server.keys.check(token, scope)
        request.state.limited = None if own else client
        if not own:
            server.rates.take(client)

    return Depends(check)


def _same_origin(request: Request, server: Backend) -> None:
    """Without keys only this machine's own pages may ask: no other site's script, and no name rebound to loopback."""
    host = request.headers.get("host", "")
    if is_loopback(server.settings.api_host) and not is_loopback(_split(f"//{host}").hostname or ""):
        raise Forbidden(f"host {host!r}: an API without keys answers to loopback names only")
    origin = request.headers.get("origin")
    if origin is not None and _split(origin).netloc != host:
        raise Forbidden(f"origin {origin!r}: an API without keys answers its own pages only")


def _split(address: str) -> SplitResult:
    """The parts of an address; none of what is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def caller(request: Request, server: UseBackend, bearer: Bearer) -> str:
    """Who asks, for the audit trail: the name of the key, or where keys are off the address."""
    token = bearer.credentials if bearer else ""
    if server.keys is not None and not hmac.compare_digest(token.encode(), server.token.encode()):
        return "key " + server.keys.check(token, "read")
    return f"API at {request.client.host if request.client else 'unknown'}"


def demand(server: UseBackend, bearer: Bearer) -> Callable[[Scope], None]:
    """For a route that learns only from its body or the stores which scope is needed: call it with that scope. It
    raises Forbidden where the key's is too small."""
    token = bearer.credentials if bearer else ""

    def check(scope: Scope) -> None:
        if server.keys is not None and not hmac.compare_digest(token.encode(), server.token.encode()):
            server.keys.check(token, scope)

    return check


Caller = Annotated[str, Depends(caller)]
Demand = Annotated[Callable[[Scope], None], Depends(demand)]
Read = needs("read")
Ingest = needs("ingest")
Admin = needs("admin")
