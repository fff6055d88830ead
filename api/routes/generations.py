"""Generations: the vectors of each encoder, which of them is live, and how one takes the place of another."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Query
from pydantic import BaseModel, ConfigDict, Field

from api.diff import Diff
from api.diff import diff as compare
from api.models import QueryText
from api.needs import Admin, Caller, Read, UseBackend
from api.routes.jobs import JobReply, checkpoint
from encoders.evaluation.trec import Query as Asked
from kg.errors import BadInput, SkugraphError
from kg.home import Home
from kg.stores import Stores
from kg.vectors import generations as chain
from kg.vectors import switching
from kg.vectors.events import Action, events
from kg.vectors.states import State
from workers.estimate import Estimate, check_budget
from workers.estimate import estimate as foresee
from workers.following import follow_others
from workers.orders import Judged, Use, checked, submit_evaluate, submit_reembed

__all__ = ["router"]

router = APIRouter(prefix="/v1/generations", tags=["generations"])
log = logging.getLogger("skugraph.api")


class GenerationReply(BaseModel):
    id: str
    encoder: str
    fingerprint: str
    dim: int
    kinds: tuple[str, ...]
    state: State
    stale: int = Field(description="Changes of the catalogue that it has not embedded yet")
    created_at: str
    live_since: str = Field(description="When it last became live; empty where it never was")
    previous: str = Field(description="What a rollback would go back to; empty where it is not live, or there is none")
    evaluation: dict[str, Any] | None = Field(description="What its last evaluation against the live one found")


class GenerationList(BaseModel):
    generations: list[GenerationReply]


class EventReply(BaseModel):
    at: str
    action: Action
    generation: str
    other: str = Field(description="The one that was live before")
    by: str
    reason: str
    forced: bool = Field(description="A gate, or the guard of the way back, was overruled")
    figures: dict[str, Any] = Field(description="Of the evaluation that the decision rested on")


class EventList(BaseModel):
    events: list[EventReply]


class Reason(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=2000, description="Why; it is kept in the audit trail")


class Switch(Reason):
    force: bool = Field(default=False, description="Overrule gates, or the guard of the way back; takes a reason")


class Measure(BaseModel):
    """Files in the home's folder `queries`."""

    model_config = ConfigDict(extra="forbid")

    queries: str = Field(description="Name of a file of queries, in the formats of `skugraph eval`")
    qrels: str = Field(description="Name of a file of TREC qrels")
    gates: str = Field(default="", description="Name of a file of gates; empty for the setting `generation_gates`")
    use: Use = "both"
    k: int = Field(default=100, ge=1, le=1000)

    def judged(self, home: Home) -> Judged:
        """Raises:
        BadInput: a name that leads elsewhere, or a file that is not what it should be.
        """
        gates = str(query_file(home, self.gates)) if self.gates else ""
        found = Judged(str(query_file(home, self.queries)), str(query_file(home, self.qrels)), gates, self.use, self.k)
        return checked(found)


class ReembedRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    encoder: str = Field(description="Name of a checkpoint in the home's folder `models`")
    measure: Measure | None = Field(default=None, description="Measure it against the live one at the end")
    promote: bool = Field(default=False, description="Promote it at the end, if its gates let it pass")
    max_seconds: float | None = Field(default=None, gt=0, description="Refuse what would take longer")
    max_bytes: int | None = Field(default=None, gt=0, description="Refuse what needs more room")
    dry_run: bool = Field(default=False, description="Only estimate")


class ReembedReply(BaseModel):
    estimate: Estimate
    job: JobReply | None = Field(description="None where only the estimate was asked for")


class DiffQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(default="", description="Empty: its place in the list, from 1")
    text: QueryText = Field(min_length=1)


class DiffRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    a: str = Field(description="Id of a generation")
    b: str = Field(description="Id of the other")
    queries: list[DiffQuery] = Field(min_length=1, max_length=200)
    k: int = Field(default=10, ge=1, le=100)


def query_file(home: Home, name: str) -> Path:
    """Raises:
    BadInput: the name leads out of the folder.
    """
    folder = home.root / "queries"
    path = folder / name
    if not name or path.parent != folder or name.startswith("."):
        raise BadInput(f"file {name!r}: name one in the home's folder `queries`")
    return path


def _reply(stores: Stores, generation: chain.Generation) -> GenerationReply:
    live = generation.state == "live"
    values = generation.json() | {"stale": chain.stale(stores, generation)}
    return GenerationReply.model_validate(values | ({} if live else {"previous": ""}))


def _follow(stores: Stores) -> None:
    """What is live now may lack changes; who asked for the switch need not wait for the orders."""
    try:
        follow_others(stores)
    except SkugraphError as error:
        log.warning("generations do not follow yet: %s", error)


@router.get("", dependencies=[Read])
def generations(server: UseBackend) -> GenerationList:
    """Every generation, oldest first."""
    return GenerationList(generations=[_reply(server.stores, found) for found in chain.listing(server.stores)])


@router.post("", status_code=202, dependencies=[Admin])
def reembed(body: ReembedRequest, server: UseBackend, caller: Caller) -> ReembedReply:
    """Build the generation of another encoder in the shadow of the live one; estimated first, refused over a budget."""
    stores, settings = server.stores, server.settings
    folder = checkpoint(stores, body.encoder)
    judged = body.measure.judged(stores.home) if body.measure else None
    if body.promote and judged is None and settings.generation_gates is not None:
        raise BadInput(
            "promote: gates are set, and nothing is measured", hint="say what to measure with", field="measure"
        )
    found = foresee(stores, folder)
    seconds = body.max_seconds or settings.reembed_max_seconds
    check_budget(found, seconds=seconds, bytes=body.max_bytes or settings.reembed_max_bytes)
    if body.dry_run:
        return ReembedReply(estimate=found, job=None)
    job = submit_reembed(stores, folder, judged=judged, promote=body.promote, by=caller, estimated_s=found.seconds)
    return ReembedReply(estimate=found, job=JobReply.model_validate(job.json()))


@router.post("/diff", dependencies=[Read])
def diff(body: DiffRequest, server: UseBackend) -> Diff:
    """The same queries on two generations: what both find, and what only one does. What differs most comes first."""
    asked = [Asked(query.id or str(number), query.text) for number, query in enumerate(body.queries, start=1)]
    if len({query.id for query in asked}) < len(asked):
        raise BadInput("queries: two have the same id", field="queries")
    return compare(server.stores, body.a, body.b, asked, k=body.k)


@router.get(":events", dependencies=[Read])
def trail(server: UseBackend, generation: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> EventList:
    """The audit trail: promotions, rollbacks, retirements and repairs, newest first."""
    found = events(server.stores, generation, limit=limit)
    return EventList(events=[EventReply.model_validate(event.json()) for event in found])


@router.post(":rollback", dependencies=[Admin])
def rollback(server: UseBackend, caller: Caller, later: BackgroundTasks, body: Reason | None = None) -> GenerationReply:
    """Let searches use the generation that was live before the present one."""
    now = switching.rollback(server.stores, by=caller, **(body or Reason()).model_dump())
    server.warm()
    later.add_task(_follow, server.stores)
    return _reply(server.stores, now)


@router.get("/{id}", dependencies=[Read])
def generation(id: str, server: UseBackend) -> GenerationReply:
    """One generation, with what its last evaluation found."""
    return _reply(server.stores, chain.get(server.stores, id))


@router.post("/{id}:evaluate", status_code=202, dependencies=[Admin])
def evaluate(id: str, body: Measure, server: UseBackend) -> JobReply:
    """Measure a generation in the shadow against the live one, in a worker; what is found is kept on the generation."""
    job = submit_evaluate(server.stores, id, body.judged(server.stores.home))
    return JobReply.model_validate(job.json())


@router.post("/{id}:promote", dependencies=[Admin])
def promote(
    id: str, server: UseBackend, caller: Caller, later: BackgroundTasks, body: Switch | None = None
) -> GenerationReply:
    """Let searches use this generation from now on; refused below its gates."""
    promoted = switching.promote(server.stores, id, by=caller, **(body or Switch()).model_dump())
    server.warm()
    later.add_task(_follow, server.stores)
    return _reply(server.stores, promoted)


@router.post("/{id}:retire", dependencies=[Admin])
def retire(id: str, server: UseBackend, caller: Caller, body: Switch | None = None) -> GenerationReply:
    """Drop its vectors; refused for the live one, and without force for what a rollback goes back to."""
    return _reply(server.stores, switching.retire(server.stores, id, by=caller, **(body or Switch()).model_dump()))
