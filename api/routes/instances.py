"""Search by instances: each product in a picture for itself."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool

from api.backend import Backend
from api.instance_models import InstancesReply, InstancesRequest
from api.instances import search_instances
from api.metrics import INSTANCES_FOUND, INSTANCES_SECONDS
from api.needs import Read, UseBackend
from api.routes.bodies import asked, body

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["search"])

EXAMPLES = {
    "proposed": {
        "summary": "The products that the detector sees",
        "value": {"image_url": "https://shop.example/shelf.jpg", "k": 3},
    },
    "given": {
        "summary": "Two boxes of one's own, inside a part of the graph",
        "value": {
            "image_url": "https://shop.example/shelf.jpg",
            "boxes": [[10, 20, 110, 220], [130, 25, 240, 220]],
            "filters": {"category": "Beauty"},
            "merge": "max_score",
        },
    },
}


def run(server: Backend, request: InstancesRequest) -> InstancesReply:
    """One search by instances, counted and timed."""
    started = time.perf_counter()
    reply = search_instances(server.searcher, request)
    INSTANCES_SECONDS.labels(reply.plan).observe(time.perf_counter() - started)
    INSTANCES_FOUND.labels("given" if request.boxes else "proposed").inc(len(reply.instances))
    return reply


@router.post("/instances", dependencies=[Read], openapi_extra={"requestBody": body(InstancesRequest, EXAMPLES)})
async def instances(
    server: UseBackend, request: Annotated[InstancesRequest, Depends(asked(InstancesRequest))]
) -> InstancesReply:
    """Find the products in a picture, each with its box and hits, and merge them into one list.

    Without `boxes` the detector of the live generation's encoder proposes regions; an encoder without a detector then
    refuses, and says so.
    """
    return await run_in_threadpool(run, server, request)
