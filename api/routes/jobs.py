"""Jobs: start, watch, pause, resume, cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.needs import Demand, Ingest, Read, UseBackend
from kg.errors import BadInput, NotFound
from kg.stores import Stores
from kg.vectors.generations import live_id
from workers import jobs as work
from workers.estimate import check_budget
from workers.estimate import estimate as foresee
from workers.orders import submit_follow

__all__ = ["JobReply", "checkpoint", "router"]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
ADMINS = {"reembed", "evaluate", "audit", "switch"}  # kinds of jobs that decide what is live, or repair: not Ingest's


class JobRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["embed", "follow", "relate", "gnn"] = Field(
        description="embed: vectors of what changed, by an encoder; follow: the same for generations that are kept; "
        "relate: entity similarity; gnn: vectors of entities"
    )
    encoder: str = Field("", description="For embed: name of a checkpoint in the home's folder `models`")
    generation: str = Field("", description="For follow: id of a generation; empty for the live one")
    config: Literal["gcn", "sage", "gat"] = Field("sage", description="For gnn: kind of the network")
    seed: int = Field(0, ge=0, lt=2**31, description="For gnn: of all that is random")


class JobReply(BaseModel):
    id: str
    kind: str
    state: Literal["queued", "running", "paused", "done", "failed", "cancelled"]
    target: str
    generation: str
    stage: str = Field(description="What its worker is at, in words, where the counts do not say it all")
    total: int
    done: int
    rejected: int = Field(description="Items left out, such as broken pictures")
    rate: float = Field(description="Items a second")
    eta_s: float | None
    busy_s: float = Field(description="Seconds that workers were at it")
    estimated_s: float = Field(description="What these were estimated at before it began; 0 where nobody did")
    tries: int = Field(description="How often a worker has taken it up since the last chunk of work")
    error: str
    created_at: str
    started_at: str
    finished_at: str


class JobList(BaseModel):
    jobs: list[JobReply]


def checkpoint(stores: Stores, name: str) -> Path:
    """The checkpoint folder of that name in the home.

    Raises:
        BadInput: the name leads elsewhere.
    """
    folder = stores.home.models / name
    if not name or folder.parent != stores.home.models or name.startswith("."):
        raise BadInput(f"encoder = {name!r}: name a checkpoint folder in the home's `models`")
    return folder


def _reply(job: work.Job) -> JobReply:
    return JobReply.model_validate(job.json())


@router.get("", dependencies=[Read])
def jobs(server: UseBackend, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> JobList:
    """The latest jobs, newest first."""
    return JobList(jobs=[_reply(job) for job in work.list_jobs(server.stores, limit=limit)])


@router.post("", status_code=202, dependencies=[Ingest])
def submit(body: JobRequest, server: UseBackend) -> JobReply:
    """Start a job, or take up the open one that does the same. One of kind `embed` is estimated first where the
    settings limit what a re-embedding may take, and refused above that."""
    if body.kind == "relate":
        return _reply(work.submit_relate(server.stores))
    if body.kind == "gnn":
        return _reply(work.submit_gnn(server.stores, body.config, seed=body.seed))
    if body.kind == "follow":
        generation = body.generation or live_id(server.stores)
        return _reply(submit_follow(server.stores, generation))
    folder, settings = checkpoint(server.stores, body.encoder), server.settings
    if settings.reembed_max_seconds is not None or settings.reembed_max_bytes is not None:
        found = foresee(server.stores, folder)
        check_budget(found, seconds=settings.reembed_max_seconds, bytes=settings.reembed_max_bytes)
    return _reply(work.submit_embed(server.stores, folder))


@router.get("/{id}", dependencies=[Read])
def job(id: str, server: UseBackend) -> JobReply:
    """One job with its progress."""
    return _reply(work.get_job(server.stores, id))


@router.post("/{id}:{command}", dependencies=[Ingest])
def command(id: str, command: str, server: UseBackend, demand: Demand) -> JobReply:
    """Pause, resume or cancel a job; those that only an admin may order take an admin here too."""
    commands = {"pause": work.pause, "resume": work.resume, "cancel": work.cancel}
    if command not in commands:
        raise NotFound(f"command {command!r} does not exist", hint=f"known: {', '.join(commands)}")
    if work.get_job(server.stores, id).kind in ADMINS:
        demand("admin")
    return _reply(commands[command](server.stores, id))
