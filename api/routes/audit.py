"""Do graph and vectors agree: what the latest audit found, and another one."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.needs import Admin, Read, UseBackend
from api.routes.jobs import JobReply
from kg.audit import latest
from kg.errors import NotFound
from workers.orders import submit_audit

__all__ = ["router"]

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class AuditRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    repair: bool = Field(default=False, description="Mend what can be mended")


class AuditReply(BaseModel):
    at: float = Field(description="Seconds of the epoch")
    checked: int = Field(description="Products and vectors looked at")
    drift: float = Field(description="Faults for each thing looked at")
    behind: int = Field(description="Changes that generations had yet to embed, which is no fault")
    faults: dict[str, int]
    repaired: dict[str, int]


@router.get("", dependencies=[Read])
def found(server: UseBackend) -> AuditReply:
    """What the latest audit found."""
    note = latest(server.stores)
    if note is None:
        raise NotFound("there was no audit yet", hint="POST /v1/audit, or `skugraph audit`")
    return AuditReply.model_validate(vars(note))


@router.post("", status_code=202, dependencies=[Admin])
def audit(server: UseBackend, body: AuditRequest | None = None) -> JobReply:
    """Compare graph and vectors in a worker, and mend what differs if that is wanted."""
    job = submit_audit(server.stores, repair=body.repair if body else False)
    return JobReply.model_validate(job.json())
