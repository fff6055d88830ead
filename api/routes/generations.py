"""Generations: the vectors of each encoder, and which of them is live."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.needs import Admin, Read, UseBackend
from kg.stores import Stores
from kg.vectors import generations as chain

__all__ = ["router"]

router = APIRouter(prefix="/v1/generations", tags=["generations"])


class GenerationReply(BaseModel):
    id: str
    encoder: str
    fingerprint: str
    dim: int
    kinds: tuple[str, ...]
    state: Literal["building", "shadow", "live", "retired"]
    stale: int = Field(description="Changes of the catalogue that it has not embedded yet")
    created_at: str


class GenerationList(BaseModel):
    generations: list[GenerationReply]


def _reply(stores: Stores, generation: chain.Generation) -> GenerationReply:
    return GenerationReply.model_validate(generation.json() | {"stale": chain.stale(stores, generation)})


@router.get("", dependencies=[Read])
def generations(server: UseBackend) -> GenerationList:
    """Every generation, oldest first."""
    return GenerationList(generations=[_reply(server.stores, found) for found in chain.listing(server.stores)])


@router.post("/{id}:promote", dependencies=[Admin])
def promote(id: str, server: UseBackend) -> GenerationReply:
    """Let searches use this generation from now on."""
    promoted = chain.promote(server.stores, id)
    server.warm()
    return _reply(server.stores, promoted)
