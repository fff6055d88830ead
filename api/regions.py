"""The regions of a query picture, given or proposed, and their vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.protocol import Encoder, RegionEncoder, region_encoder
from kg.errors import BadInput
from kg.records import Box

__all__ = ["Region", "crop", "given", "proposed", "region_vectors", "shared", "whole"]


@dataclass(frozen=True)
class Region:
    """A box inside a picture, in pixels; `score` is the detector's, None for a box that was given."""

    box: Box
    score: float | None = None


def given(image: Image, boxes: Sequence[Box]) -> list[Region]:
    """The boxes, cut off at the edges of the picture.

    Raises:
        BadInput: one lies outside.
    """
    found = []
    for at, (x1, y1, x2, y2) in enumerate(boxes):
        if x1 >= image.width or y1 >= image.height:
            raise BadInput(
                f"boxes.{at} = {[x1, y1, x2, y2]} lies outside of the picture of {image.width} x {image.height} pixels",
                hint="boxes are in pixels of the upright picture",
                field=f"boxes.{at}",
            )
        found.append(Region((x1, y1, min(x2, float(image.width)), min(y2, float(image.height)))))
    return found


def proposed(encoder: Encoder, image: Image, *, limit: int, min_score: float) -> list[Region]:
    """Where the encoder's detector sees products, best first; none in a picture of one colour.

    Raises:
        BadInput: the encoder has no detector.
    """
    seer = region_encoder(encoder)
    if image.getcolors(1):  # there is one colour, at most
        return []
    [found] = seer.propose([image], limit=limit)
    regions = [
        Region(_box(box), round(float(score), 6))
        for box, score in zip(found.boxes, found.scores, strict=True)
        if score >= min_score
    ]
    # In a line of pixels a box may be so thin that nothing is left of it when it is rounded.
    return [one for one in regions if one.box[0] < one.box[2] and one.box[1] < one.box[3]]


def whole(image: Image) -> Region:
    """All of the picture as one region."""
    return Region((0.0, 0.0, float(image.width), float(image.height)))


def region_vectors(encoder: Encoder, image: Image, regions: Sequence[Region]) -> NDArray[np.float32]:
    """(N, dim), unit rows: each region in its place where the encoder can do that, else what its crop shows."""
    if not isinstance(encoder, RegionEncoder):
        return encoder.encode_images([crop(image, region.box) for region in regions])
    boxes = np.array([region.box for region in regions], np.float32).reshape(-1, 4)
    [found] = encoder.encode_regions([image], [boxes])
    return found


def crop(image: Image, box: Box) -> Image:
    """The pixels that the box touches."""
    x1, y1, x2, y2 = box
    return image.crop((math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)))


def shared(one: Box, other: Box) -> float:
    """Area in common, as a share of the smaller one: 1 where one lies inside the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return max(width, 0.0) * max(height, 0.0) / min(areas)


def _box(values: NDArray[np.float32]) -> Box:
    x1, y1, x2, y2 = (round(float(value), 2) for value in values)
    return x1, y1, x2, y2
