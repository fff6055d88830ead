"""Recommendations: of what was looked at, or of what a picture shows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool

from api.needs import Read, UseBackend
from api.recommendation_models import RecommendationsReply, RecommendationsRequest
from api.recommendations import recommend
from api.routes.bodies import asked, body

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["recommendations"])

EXAMPLES = {
    "viewed": {
        "summary": "By what somebody has looked at, with weights or times",
        "value": {
            "viewed": [{"id": "sku-1", "weight": 2}, {"id": "sku-2", "at": "2026-01-01T12:00:00Z"}],
            "k": 5,
            "filters": {"max_price": 50},
        },
    },
    "picture": {
        "summary": "Of each product in a picture",
        "value": {"image_url": "https://shop.example/room.jpg", "k": 3, "diversity": 0.4},
    },
}


@router.post(
    "/recommendations", dependencies=[Read], openapi_extra={"requestBody": body(RecommendationsRequest, EXAMPLES)}
)
async def recommendations(
    server: UseBackend, request: Annotated[RecommendationsRequest, Depends(asked(RecommendationsRequest))]
) -> RecommendationsReply:
    """Recommend what is similar and what is complementary: to products that somebody has looked at, or to each product
    in a picture.

    Nothing of the request is stored, neither in the stores nor in the log.
    """
    return await run_in_threadpool(recommend, server.searcher, request)
