"""What a search by instances takes and gives: the one contract of REST, command line and web page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from api.merging import MergeMethod
from api.models import Hit, ImageBytes, Model, PlanName, QueryText, named
from kg.filters import Filters
from kg.records import Box

__all__ = ["InstanceHits", "InstancesReply", "InstancesRequest", "MergedHit"]

MAX_BOXES = 100


class InstancesRequest(Model):
    """A picture with several products in it; each is searched for by itself.

    Raises:
        BadInput: an unknown field, a value out of range, a box that is none, two pictures or none.
        BadFilter: see `kg.filters.Filters`.
    """

    image: ImageBytes | None = Field(default=None, description="The picture: base64 of a JPEG, PNG, WebP, … file")
    image_url: str | None = Field(default=None, max_length=2000, description="The picture by http(s) URL")
    boxes: Annotated[tuple[Box, ...], Field(min_length=1, max_length=MAX_BOXES)] | None = Field(
        default=None,
        description="Where the products are, each x1, y1, x2, y2 in pixels of the upright picture; what reaches beyond "
        "it is cut off. They are searched as they are. None: the encoder's detector proposes regions",
    )
    limit: int = Field(default=12, ge=1, le=MAX_BOXES, description="Regions proposed, at most")
    min_score: float = Field(
        default=0.2, ge=0, le=1, allow_inf_nan=False, description="Smallest score of the detector for a region"
    )
    overlap: float = Field(
        default=0.6,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Proposed regions whose best hit is the same product are one where they have more than this share "
        "of the smaller one in common: the better match stays. 1: all stay",
    )
    text: QueryText = Field(default="", description="What it says, added to the question of each instance")
    filters: Filters = Field(default=Filters(), description="Where the products sit in the graph")
    k: int = Field(default=5, ge=1, le=100, description="Products wanted for each instance")
    merge: MergeMethod = Field(
        default="round_robin",
        description="How the instances' lists become one: in turn, by the best score in any instance, or by the mean "
        "of the best five",
    )
    merged_k: int = Field(default=20, ge=1, le=200, description="Products wanted in the merged list")

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        if (self.image is None) == (self.image_url is None):
            raise ValueError("give the picture either as image or as image_url")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, data: Any, handler: Callable[[Any], Self]) -> Self:
        return named(cls, data, handler)


class InstanceHits(Model):
    """One instance and the products it may be."""

    number: int = Field(description="From 1: what a drawn box bears, and what the merged list names it by")
    box: Box = Field(description="Pixels of the upright picture")
    score: float | None = Field(description="The detector's, 0 to 1; none for a box that was given")
    hits: tuple[Hit, ...]


class MergedHit(Hit):
    """A product of the merged list, as the instance that won it found it; rank and score are the merged ones."""

    instance: int = Field(description="Number of that instance")


class InstancesReply(Model):
    width: int = Field(description="Of the upright picture, in pixels")
    height: int
    instances: tuple[InstanceHits, ...] = Field(description="Best region first, or the boxes in the order given")
    merged: tuple[MergedHit, ...] = Field(description="One list for the whole picture, each product once")
    merge: MergeMethod
    plan: PlanName
    exact: bool = Field(description="True: no approximate index had a say")
    generation: str = Field(description="Id of the generation searched")
    stale: int = Field(description="Changes of the catalogue that this generation has not embedded yet")
    timings_ms: dict[str, float]
    notes: tuple[str, ...] = Field(default=(), description="What one should know, such as that nothing stood out")
