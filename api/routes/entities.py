"""Entities: brands, categories, attributes and phrases, and what is similar to them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.models import FoundEntity
from api.needs import Read, UseBackend
from api.words import query_words
from kg import entity_vectors
from kg.errors import BadInput, NotFound
from kg.filters import MAX_HOPS
from kg.graph.cypher import browse
from kg.graph.neighbourhood import around, edges_between

__all__ = ["router"]

EDGES = 12  # edges for each node that may be shown

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
    confounding: float | None = Field(
        None,
        description="The score by which a training chose entities (the mismatch, where it chose by none); higher where "
        "the entity's own words fit less with what its products look like",
    )
    mismatch: float | None = Field(None, description="Of what its words mean with what its products look like")
    drop_in_loss: float | None = Field(None, description="How much better captions fit pictures without its words")
    chosen: bool = Field(False, description="The encoder of that training gives it a vector of its own")
    stale: bool = Field(description="Whether it has no vector, or one that does not know its latest edges")


class FoundList(BaseModel):
    entities: tuple[FoundEntity, ...] = Field(description="Best first")
    notes: tuple[str, ...] = ()


class NeighbourNode(BaseModel):
    key: str
    type: str
    text: str
    df: int = Field(description="Products that have it")
    hops: int = Field(description="SIMILAR_TO edges on the strongest way to it")
    strength: float = Field(description="Product of the weights on that way")
    confounding: float | None = Field(None, description="The score by which a training chose entities")
    chosen: bool = Field(False, description="The encoder of that training gives it a vector of its own")


class NeighbourEdge(BaseModel):
    """One SIMILAR_TO edge; a pair of entities has one for each source that finds them similar."""

    source: str = Field(description="Entity key; the edge has no direction")
    target: str
    weight: float
    origin: str = Field("", description="What it was made from: text, cooccurrence, visual")
    generation: str = Field("", description="The computation that made it")


class Neighbours(BaseModel):
    key: str
    nodes: tuple[NeighbourNode, ...] = Field(description="The entity first, then the strongest")
    edges: tuple[NeighbourEdge, ...] = Field(description="All among these nodes, the heaviest first")


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
    words = query_words(query)
    if words:  # nothing but words reaches the full-text parser, so its syntax cannot fail
        rows = server.stores.graph.read(browse.ENTITY_SEARCH, query=" ".join(words), type=type, limit=limit)
    else:
        rows = server.stores.graph.read(browse.ENTITIES, type=type, limit=limit)
    return EntityList(entities=tuple(EntityRow(**_row(row)) for row in rows))


@router.get(":find", dependencies=[Read])
def find(
    server: UseBackend,
    text: Annotated[str, Query(max_length=2000, description="As a person writes it", examples=["green glass bottle"])],
    type: Annotated[list[str] | None, Query(max_length=50, description="Only of these types")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> FoundList:
    """Entities that a text means: named in it, by most of their words, or near to it by their vectors."""
    if not text.strip():
        raise BadInput("text is empty: give the words to find entities by", field="text")
    understood = server.searcher.finder.find(text, types=type or (), most=limit)
    found = tuple(FoundEntity(**asdict(one)) for one in understood.found)
    return FoundList(entities=found, notes=understood.notes)


@router.get("/{key:path}/neighbourhood", dependencies=[Read])
def neighbourhood(
    key: str,
    server: UseBackend,
    hops: Annotated[int, Query(ge=0, le=MAX_HOPS)] = 1,
    min_weight: Annotated[float, Query(ge=0, le=1, description="Smallest weight of an edge")] = 0,
    limit: Annotated[int, Query(ge=1, le=500, description="Most nodes, the strongest")] = 50,
) -> Neighbours:
    """An entity and what lies around it over SIMILAR_TO: nodes and edges, to be drawn or walked."""
    graph = server.stores.graph
    there = around(graph, {key: 1.0}, hops=hops, min_weight=min_weight, most=limit)
    if key not in there.ways:
        raise NotFound(f"entity {key!r} does not exist", hint="/v1/entities?query=… finds keys")
    nodes = [
        NeighbourNode(**asdict(node), hops=len(way.steps), strength=way.strength)
        for node, way in ((there.nodes[name], way) for name, way in there.ways.items())
    ]
    rows = edges_between(graph, there.ways, min_weight=min_weight, limit=EDGES * limit) if len(nodes) > 1 else []
    edges = [NeighbourEdge(**_row(row)) for row in rows]
    nodes.sort(key=lambda node: (node.key != key, -node.strength, node.hops, node.key))
    return Neighbours(key=key, nodes=tuple(nodes), edges=tuple(edges))


@router.get("/{key:path}", dependencies=[Read])
def entity(key: str, server: UseBackend, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> EntityReply:
    """One entity and those similar to it."""
    rows = server.stores.graph.read(browse.ENTITY, key=key)
    if not rows:
        raise NotFound(f"entity {key!r} does not exist", hint="/v1/entities?query=… finds keys")
    similar = server.stores.graph.read(browse.NEIGHBOURS, key=key, limit=limit)
    return EntityReply(
        **_row(rows[0]),
        similar=tuple(EntityRow(**_row(row)) for row in similar),
        stale=entity_vectors.is_stale(server.stores, key),
    )
