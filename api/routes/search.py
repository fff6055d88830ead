"""Search, one at a time or many, and the facets to narrow by."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from api.backend import Backend
from api.facets import facets as count_facets
from api.metrics import SEARCH_REQUESTED, SEARCH_RETURNED, SEARCH_SECONDS
from api.models import Facets, SearchReply, SearchRequest
from api.needs import Read, UseBackend
from api.routes.bodies import asked, body
from kg.filters import Filters

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["search"])

EXAMPLES = {
    "text": {"summary": "By words", "value": {"text": "green glass bottle", "k": 5}},
    "text and graph": {
        "summary": "By words, inside a part of the graph",
        "value": {"text": "shampoo", "filters": {"category": "Beauty", "max_price": 20}},
    },
    "words and what is known of them": {
        "summary": "By words, with entities for an encoder that takes them",
        "value": {"text": "diesel slim jeans", "entities": [{"type": "brand", "value": "Diesel"}]},
    },
    "like": {"summary": "What looks and reads like a product", "value": {"like": "sku-1", "k": 5}},
    "neighbourhood": {
        "summary": "Around an entity, over SIMILAR_TO",
        "value": {"filters": {"near": "colour:green", "hops": 2, "min_weight": 0.6}},
    },
    "entities of the words": {
        "summary": "By words, and by the entities that they mean",
        "value": {"text": "green glass bottle", "graph": {"mode": "widen", "hops": 1, "min_weight": 0.6}},
    },
}


class Batch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    searches: list[SearchRequest] = Field(min_length=1, max_length=32)


class BatchReply(BaseModel):
    replies: list[SearchReply]


class FacetsRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filters: Filters = Filters()


def run(server: Backend, request: SearchRequest) -> SearchReply:
    """One search, counted and timed."""
    started = time.perf_counter()
    reply = server.searcher.search(request)
    SEARCH_SECONDS.labels(reply.plan).observe(time.perf_counter() - started)
    SEARCH_REQUESTED.labels(reply.plan).inc(reply.requested)
    SEARCH_RETURNED.labels(reply.plan).inc(reply.returned)
    return reply


@router.post("/search", dependencies=[Read], openapi_extra={"requestBody": body(SearchRequest, EXAMPLES)})
async def search(server: UseBackend, request: Annotated[SearchRequest, Depends(asked(SearchRequest))]) -> SearchReply:
    """Search by words, picture, example product and place in the graph, in any combination."""
    return await run_in_threadpool(run, server, request)


@router.post("/search:batch", dependencies=[Read])
def batch(body: Batch, server: UseBackend) -> BatchReply:
    """Up to 32 searches, answered in order; the first that fails fails all."""
    return BatchReply(replies=[run(server, request) for request in body.searches])


@router.post("/facets", dependencies=[Read])
def facets(body: FacetsRequest, server: UseBackend) -> Facets:
    """Brands and categories of what is inside the filters, with counts."""
    return count_facets(server.stores, body.filters)
