"""What an encoder sees of a picture: a token for the whole and one for each region, from a single backbone pass."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from encoders.backbones.base import PictureBackbone
from encoders.features import FeatureCache, picture_tokens
from encoders.regions.boxes import WHOLE, checked, encode, inside, pool, relative
from encoders.regions.detector import Detector
from encoders.regions.maps import feature_maps, region_width

__all__ = ["RegionTokens", "region_tokens"]

EDITION = b"regions 1"  # counts up when the same key would hold something else
ENOUGH = 100  # proposals of a picture among which those of a window are sought
INSIDE = 0.7  # of a proposal's area


@dataclass(frozen=True)
class RegionTokens:
    """R tokens of one window of a picture; the first is the window as a whole (the papers' global token).

    Attributes:
        features: (R, W) float16; the parts of the backbone (`PictureBackbone.parts`) each of unit length.
        boxes: (R, 5) float32: left, top, right, bottom as fractions of the window, and the share of its area.
    """

    features: NDArray[np.float16]
    boxes: NDArray[np.float32]


def region_tokens(
    backbone: PictureBackbone,
    detector: Detector | None,
    images: Sequence[Image],
    windows: Sequence[ArrayLike] | None = None,
    *,
    limit: int = 36,
    cache: FeatureCache | None = None,
    batch: int = 32,
) -> list[list[RegionTokens]]:
    """Tokens of each window of each picture.

    Args:
        backbone: computed once for a picture, whatever the number of windows.
        detector: its regions that lie in a window (70 % of their area) become tokens, best first; None: there are none.
        images: RGB, of any size.
        windows: (N_i, 4) pixels for each picture; None: one window, the whole picture.
        limit: most regions of a window beside the first token.
        cache: entries are known by the pixels, the backbone, the detector, the limit and the window.
        batch: pictures in one backbone pass.

    Raises:
        BadInput: a window that is empty, swapped, or outside its picture.
    """
    asked = [
        np.array([[0, 0, *image.size]], np.float32) if windows is None else checked(windows[i], *image.size)
        for i, image in enumerate(images)
    ]
    limit = limit if detector else 0
    found: list[list[RegionTokens]] = []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        found += _batch(backbone, detector, images[part], asked[part], limit, cache, batch)
    return found


def _batch(
    backbone: PictureBackbone,
    detector: Detector | None,
    images: Sequence[Image],
    windows: Sequence[NDArray[np.float32]],
    limit: int,
    cache: FeatureCache | None,
    batch: int,
) -> list[list[RegionTokens]]:
    keys = [_keys(backbone, detector, image, rows, limit) for image, rows in zip(images, windows, strict=True)]
    width = region_width(backbone)
    known = cache.get([key for of_image in keys for key in of_image]) if cache else {}
    found = {key: _unpacked(value, width) for key, value in known.items()}
    new = [i for i, of_image in enumerate(keys) if any(key not in found for key in of_image)]
    if new:
        fresh: dict[bytes, bytes] = {}
        pictures = [images[i] for i in new]
        tokens = picture_tokens(backbone, pictures, batch=batch)
        for i, token, proposed in zip(
            new, tokens, _proposals(backbone, detector, pictures, tokens, limit), strict=True
        ):
            maps = [part[0] for part in feature_maps(backbone, torch.from_numpy(token[None]).float())]
            for key, window in zip(keys[i], windows[i], strict=True):
                found[key] = _window(maps, images[i], window, proposed, limit)
                fresh[key] = found[key].features.tobytes() + found[key].boxes.tobytes()
        if cache:
            cache.put(fresh)
    return [[found[key] for key in of_image] for of_image in keys]


def _keys(
    backbone: PictureBackbone,
    detector: Detector | None,
    image: Image,
    windows: NDArray[np.float32],
    limit: int,
) -> list[bytes]:
    digest = hashlib.sha256(EDITION + backbone.fingerprint.encode())
    digest.update(f"{image.size} {limit} {detector.fingerprint if detector and limit else None}".encode())
    digest.update(backbone.pixels(image).data)
    if detector and limit and detector.backbone != backbone.fingerprint:  # it sees the picture in its own way
        digest.update(image.convert("RGB").tobytes())
    common = digest.digest()
    return [hashlib.sha256(common + window.tobytes()).digest() for window in windows]


def _proposals(
    backbone: PictureBackbone,
    detector: Detector | None,
    images: Sequence[Image],
    tokens: NDArray[np.float16],
    limit: int,
) -> list[NDArray[np.float32]]:
    if not detector or not limit:
        return [np.empty((0, 4), np.float32)] * len(images)
    shared = tokens if detector.backbone == backbone.fingerprint else None
    return [regions.boxes for regions in detector.propose(images, limit=max(limit, ENOUGH), tokens=shared)]


def _window(
    maps: Sequence[Tensor], image: Image, window: NDArray[np.float32], proposed: NDArray[np.float32], limit: int
) -> RegionTokens:
    kept = proposed[inside(proposed, window) >= INSIDE][:limit]
    boxes = np.concatenate([window[None], kept])
    shares = torch.from_numpy(encode(boxes, *image.size)[:, :4])
    pooled = [functional.normalize(pool(part, shares), dim=1) for part in maps]
    places = np.concatenate([np.array([WHOLE], np.float32), encode(relative(kept, window), 1, 1)])
    return RegionTokens(torch.cat(pooled, dim=1).to(torch.float16).numpy(), places)


def _unpacked(value: bytes, width: int) -> RegionTokens:
    rows = len(value) // (2 * width + 20)
    features = np.frombuffer(value, np.float16, rows * width).reshape(rows, width)
    return RegionTokens(features, np.frombuffer(value, np.float32, offset=2 * rows * width).reshape(rows, 5))
