"""Search, one at a time or many, and the facets to narrow by."""

from __future__ import annotations

import json
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from api.backend import Backend
from api.facets import facets as count_facets
from api.metrics import SEARCH_REQUESTED, SEARCH_RETURNED, SEARCH_SECONDS
from api.models import Facets, SearchReply, SearchRequest
from api.needs import Read, UseBackend
from kg.errors import BadInput
from kg.filters import Filters

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["search"])

EXAMPLES = {
    "text": {"summary": "By words", "value": {"text": "green glass bottle", "k": 5}},
    "text and graph": {
        "summary": "By words, inside a part of the graph",
        "value": {"text": "shampoo", "filters": {"category": "Beauty", "max_price": 20}},
    },
    "like": {"summary": "What looks and reads like a product", "value": {"like": "sku-1", "k": 5}},
    "neighbourhood": {
        "summary": "Around an entity, over SIMILAR_TO",
        "value": {"filters": {"near": "colour:green", "hops": 2, "min_weight": 0.6}},
    },
}
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}, "examples": EXAMPLES},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "string", "contentMediaType": "application/octet-stream"},
                    "request": {"type": "string", "description": "The other fields, as JSON"},
                },
            }
        },
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


async def asked(request: Request) -> SearchRequest:
    """The search in a JSON body, or in a form with the picture as the file `image` and the rest as JSON in `request`.

    Raises:
        BadInput: neither, or not JSON.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=1) as form:
            text, image = form.get("request", "{}"), form.get("image")
            unknown = sorted(set(form) - {"request", "image"})
            if unknown or not isinstance(text, str) or not (image is None or isinstance(image, UploadFile)):
                raise BadInput(f"form fields {sorted(form)}: a form has the file `image` and the JSON text `request`")
            fields = _parsed(text)
            if image is not None:
                fields["image"] = await image.read()
            return SearchRequest.model_validate(fields)
    if kind != "application/json":
        raise BadInput(f"content type {kind!r}: send application/json or multipart/form-data")
    return SearchRequest.model_validate(_parsed(await request.body()))


def _parsed(text: str | bytes) -> dict:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the request is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadInput(f"the request is a JSON {type(fields).__name__}: it must be an object")
    return fields


def run(server: Backend, request: SearchRequest) -> SearchReply:
    """One search, counted and timed."""
    started = time.perf_counter()
    reply = server.searcher.search(request)
    SEARCH_SECONDS.labels(reply.plan).observe(time.perf_counter() - started)
    SEARCH_REQUESTED.labels(reply.plan).inc(reply.requested)
    SEARCH_RETURNED.labels(reply.plan).inc(reply.returned)
    return reply


@router.post("/search", dependencies=[Read], openapi_extra={"requestBody": BODY})
async def search(server: UseBackend, request: Annotated[SearchRequest, Depends(asked)]) -> SearchReply:
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
