"""Entities: brands, categories, attributes and phrases, and what is similar to them."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.needs import Read, UseBackend
from kg.errors import NotFound
from kg.graph.cypher import browse

__all__ = ["router"]

router = APIRouter(prefix="/v1/entities", tags=["graph"])


class EntityRow(BaseModel):
    key: str = Field(description="`type:normalised text`: goes into the filters `entity` and `near`")
    type: str
    text: str
    df: int = Field(0, description="Products that have it")
    score: float | None = Field(None, description="Of the full-text match")
    weight: float | None = Field(None, description="Of the SIMILAR_TO edge")


class EntityList(BaseModel):
    entities: tuple[EntityRow, ...]


class EntityReply(EntityRow):
    path: tuple[str, ...] = Field((), description="Of a category, from the root down")
    similar: tuple[EntityRow, ...] = Field((), description="Neighbours over SIMILAR_TO, nearest first")


def _row(row: dict) -> dict:
    return {name: value for name, value in row.items() if value is not None}


@router.get("", dependencies=[Read])
def entities(
    server: UseBackend,
    query: Annotated[str, Query(max_length=200, description="Words; empty: the most frequent")] = "",
    type: Annotated[str | None, Query(max_length=200, examples=["brand"])] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> EntityList:
    """Entities whose text has the words, or the most frequent ones."""
    words = re.findall(r"\w+", query)
    if words:  # nothing but words reaches the full-text parser, so its syntax cannot fail
        rows = server.stores.graph.read(
            browse.ENTITY_SEARCH, query=" ".join(w.lower() for w in words), type=type, limit=limit
        )
    else:
        rows = server.stores.graph.read(browse.ENTITIES, type=type, limit=limit)
    return EntityList(entities=tuple(EntityRow(**_row(row)) for row in rows))


@router.get("/{key:path}", dependencies=[Read])
def entity(key: str, server: UseBackend, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> EntityReply:
    """One entity and those similar to it."""
    rows = server.stores.graph.read(browse.ENTITY, key=key)
    if not rows:
        raise NotFound(f"entity {key!r} does not exist", hint="/v1/entities?query=… finds keys")
    similar = server.stores.graph.read(browse.NEIGHBOURS, key=key, limit=limit)
    return EntityReply(**_row(rows[0]), similar=tuple(EntityRow(**_row(row)) for row in similar))
