"""Rules for what searches show, and the trail of who made and removed them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.needs import Admin, Caller, Read, UseBackend
from kg.filters import Filters
from kg.rules import Action, Rule, add, events, get, listing, remove

__all__ = ["router"]

router = APIRouter(prefix="/v1/rules", tags=["rules"])


class NewRule(BaseModel):
    """A rule for products, or for filters."""

    model_config = ConfigDict(extra="forbid")

    action: Action = Field(description="pin to the top, bury below all others, or exclude")
    products: list[str] = Field(default=[], description="Ids, in the order in which they are pinned")
    filters: Filters | None = Field(default=None, description="What admits the products, instead of their ids")
    query: str = Field(default="", description="Only where the whole text of a search is this, however it is written")
    category: str = Field(default="", description="Only in searches filtered to this category or below: name or key")
    expires_at: datetime | None = Field(default=None, description="From then on it does nothing; UTC without a zone")
    reason: str = Field(default="", description="Why; it is kept in the audit trail")


class RuleReply(BaseModel):
    id: str
    action: Action
    products: tuple[str, ...]
    filters: dict[str, Any] | None
    query: str = Field(description="Normalised; empty: whatever is asked")
    categories: tuple[str, ...] = Field(description="Keys; empty: whatever is filtered to")
    expires_at: str = Field(description="Empty: never")
    expired: bool
    by: str
    reason: str
    created_at: str


class RuleList(BaseModel):
    rules: list[RuleReply]


class RuleEventReply(BaseModel):
    at: str
    action: Literal["rule-add", "rule-remove"]
    rule: str
    by: str
    reason: str
    figures: dict[str, Any] = Field(description="The rule as it was")


class RuleEventList(BaseModel):
    events: list[RuleEventReply]


def _reply(rule: Rule) -> RuleReply:
    return RuleReply.model_validate(rule.json() | {"expired": rule.expired(datetime.now(UTC))})


@router.get("", dependencies=[Read])
def rules(server: UseBackend) -> RuleList:
    """Every rule, oldest first, those that have expired too."""
    return RuleList(rules=[_reply(rule) for rule in listing(server.stores.graph)])


@router.post("", status_code=201, dependencies=[Admin])
def make(body: NewRule, server: UseBackend, caller: Caller) -> RuleReply:
    """Make a rule; the next search keeps it."""
    fields = {name: getattr(body, name) for name in NewRule.model_fields if name != "action"}
    return _reply(add(server.stores.graph, body.action, by=caller, **fields))


@router.get("/events", dependencies=[Read])
def trail(server: UseBackend, rule: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> RuleEventList:
    """Who made and removed rules, when and why, newest first."""
    found = events(server.stores.graph, rule, limit=limit)
    return RuleEventList(events=[RuleEventReply.model_validate(vars(event)) for event in found])


@router.get("/{id}", dependencies=[Read])
def one(id: str, server: UseBackend) -> RuleReply:
    """One rule."""
    return _reply(get(server.stores.graph, id))


@router.delete("/{id}", dependencies=[Admin])
def unmake(
    id: str, server: UseBackend, caller: Caller, reason: Annotated[str, Query(max_length=2000)] = ""
) -> RuleReply:
    """Take a rule away; the trail keeps what it was."""
    return _reply(remove(server.stores.graph, id, by=caller, reason=reason))
