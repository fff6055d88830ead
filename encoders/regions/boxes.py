"""Arithmetic of boxes: rows of x1, y1, x2, y2 (left top, right bottom corner), pixels unless a name says otherwise."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from kg.errors import BadInput

__all__ = ["WHOLE", "area", "checked", "clip", "encode", "inside", "iou", "nms", "pool", "relative"]

WHOLE = (0.0, 0.0, 1.0, 1.0, 1.0)  # the 5-d location of the whole picture: papers' global token

Boxes = NDArray[np.float32]


def area(boxes: Boxes) -> Boxes:
    """(N, 4) to (N,); 0 where a box is empty or swapped."""
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1), np.float32)


def _common(a: Boxes, b: Boxes) -> Boxes:
    """Area that each of `a` shares with each of `b`, (N, M)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0), axis=2), np.float32)


def iou(a: Boxes, b: Boxes) -> Boxes:
    """Shared area over joint area, (N, 4) and (M, 4) to (N, M); 0 for two empty boxes."""
    common = _common(a, b)
    joint = area(a)[:, None] + area(b)[None] - common
    return np.asarray(common / np.maximum(joint, np.finfo(np.float32).tiny), np.float32)


def inside(boxes: Boxes, window: Boxes) -> Boxes:
    """Share of each box's area that lies in the window (4,), (N,); 0 for an empty box."""
    return np.asarray(_common(boxes, window[None])[:, 0] / np.maximum(area(boxes), 1e-30), np.float32)


def nms(boxes: Boxes, scores: Boxes, threshold: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4).
        scores: (N,); of equal scores the earlier box goes first.
        threshold: a box whose IoU with a better kept one is above it falls.

    Returns:
        Indices of the kept boxes, best first.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(boxes, boxes)
    alive, kept = np.ones(len(boxes), bool), []
    for index in order:
        if alive[index]:
            kept.append(index)
            alive &= overlaps[index] <= threshold
    return np.array(kept, np.int64)


def clip(boxes: ArrayLike, width: float, height: float) -> Boxes:
    """Boxes cut at the edge of the picture, (N, 4); one that lies outside becomes empty."""
    found = np.asarray(boxes, np.float32).reshape(-1, 4)
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(found, 0, limits)


def checked(boxes: ArrayLike, width: float, height: float) -> Boxes:
    """Boxes that a caller gave, cut at the edge of the picture, (N, 4) float32; N may be 0.

    Raises:
        BadInput: not four finite numbers, empty, swapped, or outside the picture.
    """
    try:
        found = np.asarray(boxes, np.float32).reshape(-1, 4)
    except (TypeError, ValueError) as error:
        raise BadInput(f"box {boxes!r}: it must be four numbers, x1 y1 x2 y2 in pixels") from error
    cut = clip(np.nan_to_num(found, nan=0.0), width, height)
    for box, left in zip(found, cut, strict=True):
        shown = " ".join(f"{value:g}" for value in box)
        if not np.isfinite(box).all():
            raise BadInput(f"box {shown}: its corners must be finite")
        if box[0] >= box[2] or box[1] >= box[3]:
            raise BadInput(f"box {shown}: x1 < x2 and y1 < y2 must hold", hint="left, top, right, bottom in pixels")
        if left[0] >= left[2] or left[1] >= left[3]:
            raise BadInput(f"box {shown} lies outside the picture of {width:g} x {height:g} pixels")
    return cut


def encode(boxes: Boxes, width: float, height: float) -> Boxes:
    """5-d location, (N, 4) to (N, 5): x1 / W, y1 / H, x2 / W, y2 / H, share of the area (CAPTURE: papers 1.4)."""
    scaled = np.asarray(boxes / np.array([width, height, width, height]), np.float32)
    return np.concatenate([scaled, area(scaled)[:, None]], axis=1, dtype=np.float32)


def relative(boxes: Boxes, window: Boxes) -> Boxes:
    """Boxes cut at the window (4,), as fractions of it, (N, 4)."""
    corner, extent = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    return np.clip((boxes - corner) / extent, 0, 1).astype(np.float32)


def pool(features: Tensor, boxes: Tensor) -> Tensor:
    """Mean of a feature map over each box, with bilinear interpolation between the centres of its cells.

    RoIAlign (He et al., "Mask R-CNN", 3) in the limit of many samples (Jiang et al., "Acquisition of Localization
    Confidence for Accurate Object Detection", 3.3): the integral is exact, so that the whole map gives its plain mean
    and no sampling rate has to be chosen. The bilinear weights of a box are a product of one for each axis.

    Args:
        features: (C, h, w).
        boxes: (N, 4) in fractions of the map, 0 … 1; an empty one is taken as the point it has shrunk to.

    Returns:
        (N, C)
    """
    channels, height, width = features.shape
    down, across = _weights(boxes[:, 1], boxes[:, 3], height), _weights(boxes[:, 0], boxes[:, 2], width)
    weights = (down[:, :, None] * across[:, None, :]).flatten(1)
    return weights.to(features.dtype) @ features.reshape(channels, -1).T


def _weights(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """(N, cells): share of each cell in the mean over start … end (fractions) of the line through the cells."""
    least = 1e-4  # of a cell
    a, b = start.double() * cells, end.double() * cells
    b = torch.maximum(b, a + least)
    # F_i(t), the integral up to t of the hat over centre i. Beyond the outermost centres the line is level.
    centres = torch.arange(cells, dtype=torch.float64, device=a.device) + 0.5

    def risen(t: Tensor) -> Tensor:
        away = (t[:, None] - centres).clamp(-1, 1)
        return torch.where(away < 0, (1 + away) ** 2 / 2, 1 - (1 - away) ** 2 / 2)

    found = risen(b) - risen(a)
    # What the hats do not cover: left of the first centre, right of the last.
    found[:, 0] += _missing(a, b)
    found[:, -1] += _missing(cells - b, cells - a)
    return (found / (b - a)[:, None]).float()


def _missing(a: Tensor, b: Tensor) -> Tensor:
    """Integral over a … b of what the hat over 0.5 lacks to 1 left of its centre: 0.5 - t."""
    low, high = a.clamp(max=0.5), b.clamp(max=0.5)
    return (high - low) * (1 - high - low) / 2
