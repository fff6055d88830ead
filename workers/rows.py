"""Items into rows of the vector schema: a text, a picture as a whole, and where it is asked for each region of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.protocol import Encoder, RegionEncoder, Regions, entity_encoder, region_encoder, takes_entities
from kg.errors import BadVector, EncoderMismatch
from kg.feed import Change, Instance
from kg.regions import PixelBox, pixel_box, region_id
from workers.stages import Stages

__all__ = ["Item", "RegionRule", "Row", "noted_rule", "region_rule", "rows_of"]

PROPOSALS = 36  # regions asked of the detector, of which the best are kept
WHOLE = 0.8  # a region whose IoU with the picture is above this shows nothing that the picture does not

Row = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """What one vector, or one and those of its regions, is made of."""

    kind: str
    change: Change
    instance: Instance
    image: Image | None = None


@dataclass(frozen=True)
class RegionRule:
    """Which regions of a picture get a row of their own.

    Attributes:
        limit: most regions of one picture.
        score: smallest score of a region, 0 … 1, as the detector gives it.
    """

    encoder: RegionEncoder
    limit: int
    score: float

    @property
    def key(self) -> str:
        """All that the choice of regions depends on; part of what identifies a generation."""
        detector = getattr(self.encoder, "detector", None)
        made_by = getattr(detector, "fingerprint", "") or self.encoder.fingerprint
        return f"{self.limit} with a score of {self.score:g} by {made_by}"


def region_rule(encoder: Encoder, limit: int, score: float) -> RegionRule | None:
    """The rule that the settings ask for; None for no regions.

    Raises:
        BadInput: regions of an encoder without a detector.
    """
    return RegionRule(region_encoder(encoder), limit, score) if limit else None


def noted_rule(encoder: Encoder, key: str) -> RegionRule | None:
    """The rule that a generation was begun with, from what it notes of it (`RegionRule.key`); None for no regions.

    Raises:
        BadInput: regions of an encoder without a detector.
        EncoderMismatch: the detector is another one now.
    """
    if not key:
        return None
    limit, _, rest = key.partition(" with a score of ")
    rule = RegionRule(region_encoder(encoder), int(limit), float(rest.partition(" by ")[0]))
    if rule.key != key:
        raise EncoderMismatch(f"regions chosen as {rule.key!r} do not belong to a generation that has {key!r}")
    return rule


def rows_of(items: Sequence[Item], encoder: Encoder, regions: RegionRule | None, stages: Stages) -> list[Row]:
    """The rows of a batch of items, all of one kind; those of pictures are decoded. An encoder that takes entities
    reads beside each text what the product's fields state.

    Raises:
        BadVector: the detector gave regions that lie outside of their picture.
    """
    texts = [item.change.text for item in items]
    images = [item.image for item in items if item.image is not None]
    if items[0].kind == "image" and regions is not None:
        return _with_regions(items, images, regions, stages)
    with stages("encode"):
        if items[0].kind == "image":
            matrix = encoder.encode_images(images)
        elif takes_entities(encoder):
            reader, stated = entity_encoder(encoder), [item.change.stated for item in items]
            text_alone = items[0].kind == "text"
            matrix = reader.encode_texts(texts, stated) if text_alone else reader.encode_items(images, texts, stated)
        elif items[0].kind == "text":
            matrix = encoder.encode_texts(texts)
        else:
            matrix = encoder.encode_items(images, texts)
    return [_row(item, item.instance.id, vector) for item, vector in zip(items, matrix, strict=True)]


def _with_regions(items: Sequence[Item], images: Sequence[Image], rule: RegionRule, stages: Stages) -> list[Row]:
    """A picture with a box of its own shows one product: the detector only looks at the others."""
    found: list[list[PixelBox]] = [[] for _ in items]
    with stages("propose"):
        asked = [i for i, item in enumerate(items) if item.instance.box is None]
        if asked:
            proposed = rule.encoder.propose([images[i] for i in asked], limit=max(PROPOSALS, rule.limit))
            for i, regions in zip(asked, proposed, strict=True):
                found[i] = _chosen(regions, images[i], rule, items[i].instance.id)
    with stages("encode"):
        boxes = [np.array([(0, 0, *image.size), *some], np.float32) for image, some in zip(images, found, strict=True)]
        matrices = rule.encoder.encode_regions(images, boxes)
    rows: list[Row] = []
    for item, some, matrix in zip(items, found, matrices, strict=True):
        ids = [item.instance.id, *(region_id(item.instance.id, box) for box in some)]
        rows += [_row(item, name, vector) for name, vector in zip(ids, matrix, strict=True)]
    return rows


def _chosen(regions: Regions, image: Image, rule: RegionRule, instance: str) -> list[PixelBox]:
    """The best distinct regions in whole pixels; those that are nearly the whole picture are left out."""
    width, height = image.size
    found: dict[PixelBox, None] = {}
    for corners, score in zip(regions.boxes.tolist(), regions.scores.tolist(), strict=True):
        box = pixel_box(corners)
        if box.x2 > width or box.y2 > height:
            raise BadVector(f"region {corners} of {instance} lies outside of its picture of {width}x{height}")
        share = (box.x2 - box.x1) * (box.y2 - box.y1) / (width * height)  # its IoU with the picture around it
        if score >= rule.score and share <= WHOLE and len(found) < rule.limit:
            found[box] = None
    return list(found)


def _row(item: Item, instance_id: str, vector: NDArray[np.float32]) -> Row:
    return {**item.change.fields, "instance_id": instance_id, "vector": vector}
