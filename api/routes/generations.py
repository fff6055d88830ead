"""Generations: the vectors of each encoder, which of them is live, and how one takes the place of another."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.needs import Admin, Caller, Read, UseBackend
from kg.stores import Stores
from kg.vectors import generations as chain
from kg.vectors import switching
from kg.vectors.events import Action, events
from kg.vectors.states import State

__all__ = ["router"]

router = APIRouter(prefix="/v1/generations", tags=["generations"])


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


def _reply(stores: Stores, generation: chain.Generation) -> GenerationReply:
    live = generation.state == "live"
    values = generation.json() | {"stale": chain.stale(stores, generation)}
    return GenerationReply.model_validate(values | ({} if live else {"previous": ""}))


@router.get("", dependencies=[Read])
def generations(server: UseBackend) -> GenerationList:
    """Every generation, oldest first."""
    return GenerationList(generations=[_reply(server.stores, found) for found in chain.listing(server.stores)])


@router.get(":events", dependencies=[Read])
def trail(server: UseBackend, generation: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> EventList:
    """The audit trail: promotions, rollbacks, retirements and repairs, newest first."""
    found = events(server.stores, generation, limit=limit)
    return EventList(events=[EventReply.model_validate(event.json()) for event in found])


@router.post(":rollback", dependencies=[Admin])
def rollback(server: UseBackend, caller: Caller, body: Reason | None = None) -> GenerationReply:
    """Let searches use the generation that was live before the present one."""
    now = switching.rollback(server.stores, by=caller, **(body or Reason()).model_dump())
    server.warm()
    return _reply(server.stores, now)


@router.get("/{id}", dependencies=[Read])
def generation(id: str, server: UseBackend) -> GenerationReply:
    """One generation, with what its last evaluation found."""
    return _reply(server.stores, chain.get(server.stores, id))


@router.post("/{id}:promote", dependencies=[Admin])
def promote(id: str, server: UseBackend, caller: Caller, body: Switch | None = None) -> GenerationReply:
    """Let searches use this generation from now on; refused below its gates."""
    promoted = switching.promote(server.stores, id, by=caller, **(body or Switch()).model_dump())
    server.warm()
    return _reply(server.stores, promoted)


@router.post("/{id}:retire", dependencies=[Admin])
def retire(id: str, server: UseBackend, caller: Caller, body: Switch | None = None) -> GenerationReply:
    """Drop its vectors; refused for the live one, and without force for what a rollback goes back to."""
    return _reply(server.stores, switching.retire(server.stores, id, by=caller, **(body or Switch()).model_dump()))
