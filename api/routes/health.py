"""Is it alive, is it ready, and what has it counted."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from api.needs import Read, UseBackend
from api.problems import problem

__all__ = ["router"]

router = APIRouter(tags=["health"])


class Status(BaseModel):
    status: str


@router.get("/healthz", response_model=Status)
def healthz() -> Status:
    """Alive: the process answers."""
    return Status(status="ok")


@router.get("/readyz", response_model=Status, responses={503: {"description": "Names what is missing and why"}})
def readyz(server: UseBackend, request: Request) -> Status | Response:
    """Ready: both stores answer."""
    missing = server.missing()
    if missing:
        extra = {"missing": missing, "instance": request.url.path, "request_id": request.state.request_id}
        return problem(503, "not-ready", f"missing: {', '.join(missing)}", hint="; ".join(missing.values()), **extra)
    return Status(status="ready")


@router.get("/metrics", response_class=Response, dependencies=[Read])
def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus."""
    request.app.state.watch.refresh()
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
