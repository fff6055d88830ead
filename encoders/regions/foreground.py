"""Cuts the product out of its picture, so that it can be pasted elsewhere.

Catalogue photos mostly have a clean background: what joins the border in its colour is background. Elsewhere GrabCut
(Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004) decides, starting from all but a margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

__all__ = ["Cutout", "cutout", "rectangle"]

SIDE = 192  # pixels of the longer side of what is cut out: scenes show products no larger
CLEAN = 0.85  # share of the border that has one colour, for a clean background
NEAR = 14  # distance of colours (0 … 255, largest channel) within a background: paper white and its JPEG noise
LEAST, MOST = 0.02, 0.97  # share of the picture that a product takes
MARGIN = 0.04  # of the sides: background by assumption, for GrabCut
SOLID = 0.25  # of its bounding box: what GrabCut finds scattered is no product


@dataclass(frozen=True)
class Cutout:
    """A product without its background.

    Attributes:
        pixels: (h, w, 4) uint8 RGBA; the product touches all four sides. Next to its outline the transparent pixels
            have its colour, so that edges do not glow when it is scaled.
    """

    pixels: NDArray[np.uint8]


def cutout(image: Image) -> Cutout | None:
    """The product of a picture; None where none stands out (one colour, a pattern, a room)."""
    pixels = _small(image)
    if min(pixels.shape[:2]) < 8:
        return None
    mask = _clean(pixels)
    if mask is None:
        mask = _grabcut(pixels)
    return None if mask is None else _tight(pixels, mask)


def rectangle(image: Image) -> Cutout | None:
    """The whole picture, opaque, for photos whose background cannot be told from the product; None where it has one
    colour or is a mere line."""
    pixels = _small(image)
    if min(pixels.shape[:2]) < 8 or np.ptp(pixels.reshape(-1, 3), axis=0).max() < NEAR:
        return None
    return Cutout(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]))


def _small(image: Image) -> NDArray[np.uint8]:
    scale = min(1.0, SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    found = image.convert("RGB")
    return np.array(found.resize(size, Resampling.BICUBIC, reducing_gap=3.0) if scale < 1 else found)


def _clean(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Mask (0, 1) of what does not join the border in the border's colour; None where the border has no one colour."""
    border = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), pixels[:, :2].reshape(-1, 3),
                             pixels[:, -2:].reshape(-1, 3)])  # fmt: skip
    colour = np.median(border, axis=0)
    if (np.abs(border - colour).max(axis=1) <= NEAR).mean() < CLEAN:
        return None
    like = (np.abs(pixels.astype(np.int16) - colour.astype(np.int16)).max(axis=2) <= NEAR).astype(np.uint8)
    _, labels = cv2.connectedComponents(like, connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    joined = np.isin(labels, np.unique(edge[edge > 0])) & (like > 0)
    return _parts((~joined).astype(np.uint8))


def _grabcut(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    height, width = pixels.shape[:2]
    if np.ptp(pixels.reshape(-1, 3), axis=0).max() < NEAR:
        return None  # its two colour models need two colours
    scale = min(1.0, 88 / max(height, width))  # the cost grows with the pixels, the outline hardly gains
    small = cv2.resize(pixels, (max(8, round(width * scale)), max(8, round(height * scale))))
    down, across = (max(1, round(MARGIN * side)) for side in small.shape[:2])
    mask = np.full(small.shape[:2], cv2.GC_PR_FGD, np.uint8)
    mask[:down] = mask[-down:] = mask[:, :across] = mask[:, -across:] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # its clustering starts at random
    try:
        cv2.grabCut(small, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:  # fewer colours than its models have parts
        return None
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    touched = np.concatenate([found[down], found[-down - 1], found[:, across], found[:, -across - 1]]).mean()
    if touched > 0.5:  # it has kept the frame: a room or a pattern, no product before a ground
        return None
    kept = _parts(np.asarray(cv2.resize(found, (width, height)), np.uint8))
    if kept is None:
        return None
    _, _, wide, high = cv2.boundingRect(kept)
    return kept if kept.sum() >= SOLID * wide * high else None


def _parts(mask: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Without specks; None where hardly anything, or nearly all, is left."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    if opened.sum() < 0.7 * mask.sum():  # wires and thin frames are no specks
        opened = mask
    number, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    sizes = stats[:, cv2.CC_STAT_AREA]
    if number < 2:
        return None
    kept = [i for i in range(1, number) if sizes[i] >= 0.05 * sizes[1:].max()]
    found = np.isin(labels, kept).astype(np.uint8)
    return found if LEAST <= found.mean() <= MOST else None


def _tight(pixels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Cutout:
    inner = cv2.erode(mask, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8), borderValue=1)
    if inner.sum() >= 0.8 * mask.sum():  # the outline is half background: what is not thin does without it
        mask = np.asarray(inner, np.uint8)
    x, y, wide, high = cv2.boundingRect(mask)
    alpha, colours = mask[y : y + high, x : x + wide], pixels[y : y + high, x : x + wide]
    weight = cv2.blur(alpha.astype(np.float32), (5, 5))[:, :, None]
    near = cv2.blur((colours * alpha[:, :, None]).astype(np.float32), (5, 5)) / np.maximum(weight, 1e-6)
    colours = np.where((alpha[:, :, None] == 0) & (weight > 1e-3), near, colours).astype(np.uint8)
    return Cutout(np.dstack([colours, alpha * np.uint8(255)]))
