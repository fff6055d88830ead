"""The FastAPI application: routes, error documents, request ids, limits, the web page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from api import problems
from api.backend import Backend
from api.limits import BodyLimit
from api.requests import Requests
from api.routes import (
    audit,
    cypher,
    entities,
    generations,
    health,
    instances,
    jobs,
    products,
    recommendations,
    rules,
    search,
)
from api.routes.bodies import lifted
from api.watch import Watch
from kg.settings import Settings

__all__ = ["create_app"]

WEB = Path(__file__).parent / "web"
DESCRIPTION = (
    "Graph-first knowledge and instance-level retrieval for product catalogues. "
    "Errors are RFC 9457 problem documents; `type` ends in a code that stays."
)


QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds: not worth a trace


def quiet(scope: Scope) -> bool:
    """Whether fastapi leaves this request untraced."""
    return scope["type"] != "http" or scope["path"] in QUIET


def create_app(settings: Settings, *, token: str = "") -> FastAPI:
    """The application; nothing is opened before it starts.

    Args:
        settings: see kg/settings.py.
        token: a key of admin scope for this run, kept in memory only.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        backend: Backend = app.state.backend
        backend.warm()
        try:
            yield
        finally:
            backend.close()

    app = FastAPI(
        title="skugraph",
        version=version("skugraph"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"exclude": quiet, "metrics": False, "logs": False},
    )
    described = app.openapi
    app.openapi = lambda: lifted(described())  # type: ignore[method-assign]
    app.state.backend = Backend(settings, token=token)
    app.state.watch = Watch(app.state.backend)
    problems.install(app)
    for part in (
        search,
        instances,
        recommendations,
        products,
        entities,
        rules,
        cypher,
        jobs,
        generations,
        audit,
        health,
    ):
        app.include_router(part.router)
    app.add_middleware(BodyLimit, max_bytes=int(settings.request_max_mb * 1e6))
    app.add_middleware(Requests)  # added last: it is the outermost
    app.mount("/static/swagger", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount("/static", StaticFiles(directory=WEB))

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(WEB / "docs.html")

    return app
