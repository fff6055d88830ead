"""Ids of regions: what a picture instance shows inside one box, `<instance id>#x1,y1,x2,y2` in whole pixels.

Regions live only in the vector store: the graph knows the instance, the id says the rest. No instance id ends like one
(`<product>#img<n>`, `<product>#txt`), and a product id holds no `#`, so that the two can always be told apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from kg.errors import BadInput
from kg.vectors.schema import FIELDS

__all__ = ["PixelBox", "pixel_box", "region_id", "split_region"]

_NUMBER = r"(0|[1-9][0-9]*)"
_REGION = re.compile(rf"(.+)#{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}", re.DOTALL)


class PixelBox(NamedTuple):
    """Corners in whole pixels, the right and lower ones not included: 0 <= x1 < x2 and 0 <= y1 < y2."""

    x1: int
    y1: int
    x2: int
    y2: int


def pixel_box(box: Sequence[float]) -> PixelBox:
    """The smallest box of whole pixels around `box` (x1, y1, x2, y2).

    Raises:
        BadInput: not four finite numbers with 0 <= x1 < x2 and 0 <= y1 < y2.
    """
    corners = [float(value) for value in box]
    if len(corners) == 4 and all(map(math.isfinite, corners)):
        x1, y1, x2, y2 = corners
        if 0 <= x1 < x2 and 0 <= y1 < y2:
            return PixelBox(math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2))
    raise BadInput(f"box {corners}: it must be x1, y1, x2, y2 in pixels with 0 <= x1 < x2 and 0 <= y1 < y2")


def region_id(instance_id: str, box: Sequence[float]) -> str:
    """Id of what the instance shows inside `box`, the smallest box of whole pixels around it.

    Raises:
        BadInput: a box that is none, the id of a region instead of an instance, or an id longer than a key may be.
    """
    if not instance_id or split_region(instance_id)[1] is not None:
        raise BadInput(f"instance id {instance_id!r}: a region belongs to an instance, not to another region")
    found = f"{instance_id}#{','.join(map(str, pixel_box(box)))}"
    if len(found) > FIELDS["instance_id"].limit:
        raise BadInput(f"region id {found!r} has {len(found)} characters, at most {FIELDS['instance_id'].limit}")
    return found


def split_region(found: str) -> tuple[str, PixelBox | None]:
    """The instance and the box of a region's id; for the id of an instance, itself and None."""
    match = _REGION.fullmatch(found)
    if match is None:
        return found, None
    box = PixelBox(*(int(number) for number in match.groups()[1:]))
    return (match[1], box) if box.x1 < box.x2 and box.y1 < box.y2 else (found, None)
