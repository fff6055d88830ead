"""What a recommendation takes and gives: the one contract of REST and command line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from api.models import ImageBytes, Model, Offer, PathStep, ProductCard, named
from kg.filters import Filters
from kg.records import Box

__all__ = [
    "MAX_VIEWED",
    "InstanceRecommendations",
    "Recommendation",
    "RecommendationsReply",
    "RecommendationsRequest",
    "Viewed",
]

MAX_VIEWED = 100


class Viewed(Model):
    """A product that somebody has looked at."""

    id: str = Field(min_length=1, max_length=128)
    weight: float = Field(
        default=1.0, ge=0, le=1e6, allow_inf_nan=False, description="How much it counts; 0: only left out"
    )
    at: datetime | None = Field(
        default=None, description="When, ISO 8601 (UTC where it names no zone): it counts half after each half-life"
    )


class RecommendationsRequest(Model):
    """A picture with products in it, or products that somebody has looked at. Nothing of it is stored.

    Raises:
        BadInput: an unknown field, a value out of range, no question or two, too many products.
        BadFilter: see `kg.filters.Filters`.
    """

    image: ImageBytes | None = Field(default=None, description="The picture: base64 of a JPEG, PNG, WebP, … file")
    image_url: str | None = Field(default=None, max_length=2000, description="The picture by http(s) URL")
    boxes: Annotated[tuple[Box, ...], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Where the products are, as in `/v1/instances`; none: the detector proposes regions"
    )
    limit: int = Field(default=12, ge=1, le=100, description="Regions proposed, at most")
    min_score: float = Field(
        default=0.2, ge=0, le=1, allow_inf_nan=False, description="Smallest score of the detector for a region"
    )
    viewed: Annotated[tuple[Viewed, ...], Field(min_length=1, max_length=MAX_VIEWED)] | None = Field(
        default=None, description=f"Products that a person has looked at, 1 to {MAX_VIEWED}"
    )
    half_life_days: float = Field(
        default=14.0, gt=0, allow_inf_nan=False, description="After this many days what was looked at counts half"
    )
    filters: Filters = Field(default=Filters(), description="Where the recommended products sit in the graph")
    k: int = Field(default=10, ge=1, le=100, description="Products wanted in each list")
    diversity: float = Field(
        default=0.2,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0: the nearest, however alike they are; towards 1: the more different from each other",
    )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        given = [name for name in ("image", "image_url", "viewed") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of image, image_url and viewed; given: {', '.join(given) or 'none'}")
        if self.boxes is not None and self.viewed is not None:
            raise ValueError("boxes need a picture")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, data: Any, handler: Callable[[Any], Self]) -> Self:
        return named(cls, data, handler)


class Recommendation(Model):
    rank: int = Field(description="From 1")
    score: float = Field(description="Of relevance, before diversity; the largest of a list is 1")
    product: ProductCard
    offer: Offer | None = Field(default=None, description="Cheapest offer of the same product in the same currency")
    because: str = Field(description="Id of the product that leads here most; empty where the picture itself does")
    scores: dict[str, float] = Field(
        default={},
        description="Cosine to `because` by `image`, `text` and `fused` vectors, as in `/v1/instances` for a picture; "
        "`graph`: sum over all ways through the graph",
    )
    reason: str = Field(description="Why it is here, in words")
    path: tuple[PathStep, ...] = Field(
        default=(), description="Way through the graph: the edges from `because`, then the product's own"
    )


class InstanceRecommendations(Model):
    """One product of the picture."""

    number: int = Field(description="From 1: what a drawn box bears")
    box: Box = Field(description="Pixels of the upright picture")
    score: float | None = Field(description="The detector's, 0 to 1; none for a box that was given")
    product: ProductCard | None = Field(description="What it most likely is; none where nothing was found")
    similar: tuple[Recommendation, ...]
    complementary: tuple[Recommendation, ...]


class RecommendationsReply(Model):
    similar: tuple[Recommendation, ...] = Field(default=(), description="Like what was looked at")
    complementary: tuple[Recommendation, ...] = Field(
        default=(), description="What goes with it: of other categories, by the graph"
    )
    instances: tuple[InstanceRecommendations, ...] = Field(default=(), description="Of a picture: product by product")
    generation: str | None = Field(description="Id of the generation searched; none where the graph alone answered")
    stale: int = Field(description="Changes of the catalogue that this generation has not embedded yet")
    timings_ms: dict[str, float]
    notes: tuple[str, ...] = ()
