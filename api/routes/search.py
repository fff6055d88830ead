"""Search, one at a time or many, and the facets to narrow by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict

from api.backend import Backend
from api.batch import answers
from api.batch_models import Asked, Batch, BatchReply, Failed, read_batch
from api.facets import facets as count_facets
from api.metrics import SEARCH_REQUESTED, SEARCH_RETURNED, SEARCH_SECONDS
from api.models import Facets, SearchReply, SearchRequest
from api.needs import Read, UseBackend
from api.problems import document
from api.routes.bodies import asked, body
from kg.errors import SkugraphError
from kg.filters import Filters

__all__ = ["router"]

NDJSON = "application/x-ndjson"

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

BATCH_EXAMPLES = {
    "two": {"summary": "Two searches", "value": {"searches": [{"text": "soap", "k": 3}, {"like": "sku-1"}]}},
    "whatever fails": {
        "summary": "What fails is told in its place",
        "value": {"searches": [{"text": "soap"}, {"like": "no such product"}], "on_error": "report"},
    },
}


class FacetsRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filters: Filters = Filters()


def run(server: Backend, request: SearchRequest) -> str:
    """One search, counted and timed; the reply as JSON, for it is valid as it is."""
    return counted(server.searcher.search(request)).model_dump_json()


def counted(reply: SearchReply) -> SearchReply:
    SEARCH_SECONDS.labels(reply.plan).observe(reply.timings_ms["total"] / 1000)
    SEARCH_REQUESTED.labels(reply.plan).inc(reply.requested)
    SEARCH_RETURNED.labels(reply.plan).inc(reply.returned)
    return reply


def replies(server: Backend, asked: Asked) -> Iterator[SearchReply | Failed]:
    """In order, each as soon as it is ready. What was refused when it was read is refused here too, in its place.

    Raises:
        SkugraphError: a search fails, where one that fails is to fail all.
    """
    good = [one for one in asked.searches if isinstance(one, SearchRequest)]
    found = answers(server.searcher, good)
    for one in asked.searches:
        answer = one if isinstance(one, SkugraphError) else next(found)
        if isinstance(answer, SearchReply):
            yield counted(answer)
        elif asked.on_error == "fail":
            raise answer
        else:
            yield Failed(error=document(answer))


def whole(found: Iterator[SearchReply | Failed]) -> str:
    """One JSON document of all."""
    return BatchReply(replies=list(found)).model_dump_json()


def lines(first: SearchReply | Failed, rest: Iterator[SearchReply | Failed]) -> Iterator[str]:
    """A JSON document a line. An error after the first line can only be told in a line, the last one."""
    yield first.model_dump_json() + "\n"
    try:
        for reply in rest:
            yield reply.model_dump_json() + "\n"
    except SkugraphError as error:
        yield Failed(error=document(error)).model_dump_json() + "\n"


@router.post(
    "/search",
    dependencies=[Read],
    response_model=SearchReply,
    openapi_extra={"requestBody": body(SearchRequest, EXAMPLES)},
)
async def search(server: UseBackend, request: Annotated[SearchRequest, Depends(asked(SearchRequest))]) -> Response:
    """Search by words, picture, example product and place in the graph, in any combination."""
    return Response(await run_in_threadpool(run, server, request), media_type="application/json")


@router.post(
    "/search:batch",
    dependencies=[Read],
    response_model=BatchReply,
    openapi_extra={"requestBody": body(Batch, BATCH_EXAMPLES, form=False)},
)
async def batch(server: UseBackend, request: Request) -> Response:
    """Up to `search_batch_max` searches, answered in order, their steps taken together; the first that fails fails all,
    unless `on_error` is `report`. `Accept: application/x-ndjson` gives one reply a line, as they are ready."""
    asked = await run_in_threadpool(read_batch, await request.body(), most=server.settings.search_batch_max)
    if request.state.limited is not None:
        server.rates.charge(request.state.limited, len(asked.searches) - 1)  # the request itself was counted
    found = replies(server, asked)
    if NDJSON in request.headers.get("accept", ""):
        first = await run_in_threadpool(next, found)
        return StreamingResponse(lines(first, found), media_type=NDJSON)
    return Response(await run_in_threadpool(whole, found), media_type="application/json")


@router.post("/facets", dependencies=[Read])
def facets(body: FacetsRequest, server: UseBackend) -> Facets:
    """Brands and categories of what is inside the filters, with counts."""
    return count_facets(server.stores, body.filters)
