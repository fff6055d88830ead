"""What an encoder sees of a picture: a token for the whole and one for each region, from a single backbone pass."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from encoders.backbones.base import PictureBackbone
from encoders.features import FeatureCache, Recent, picture_tokens
from encoders.regions.boxes import WHOLE, checked, encode, inside, pool, relative
from encoders.regions.detector import Detector
from encoders.regions.maps import feature_maps, region_width

__all__ = ["RegionTokens", "Sight", "mean_feature", "region_tokens", "window_tokens"]

EDITION = b"regions 2"  # counts up when the same key would hold something else
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


@dataclass(frozen=True)
class Sight:
    """How windows of pictures become tokens.

    Attributes:
        backbone: for whole pictures.
        detector: its regions that lie in a window (70 % of their area) become tokens, best first; None: there are none.
        limit: most regions of a window beside the first token.
        cells: instead of a detector's regions, the cells x cells equal parts of the window; 0: the detector's.
        near: the backbone for windows that are not the whole picture, at a larger size: a product then has about as
            many pixels there as where it fills a picture of its own; None: `backbone`.
        mean: (W,) mean feature of whole pictures, taken away before the parts are brought to unit length. From other
            windows the mean of their own picture is taken: light, background and style, which its products share.
    """

    backbone: PictureBackbone
    detector: Detector | None = None
    limit: int = 36
    cells: int = 0
    near: PictureBackbone | None = None
    mean: NDArray[np.float32] | None = None

    @property
    def places(self) -> int:
        """Most tokens of a window."""
        return 1 + (self.cells**2 or (self.limit if self.detector else 0))

    @property
    def seeks(self) -> Detector | None:
        """The detector, where its regions become tokens."""
        return self.detector if self.limit and not self.cells else None

    @cached_property
    def fingerprint(self) -> str:
        """Hash over all that the tokens depend on."""
        seen = self.seeks.fingerprint if self.seeks else None
        near = self.near.fingerprint if self.near else None
        digest = hashlib.sha256(EDITION)
        digest.update(f"{self.backbone.fingerprint} {near} {seen} {self.limit if seen else 0} {self.cells}".encode())
        digest.update(b"" if self.mean is None else self.mean.astype(np.float32).tobytes())
        return digest.hexdigest()


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
    """`window_tokens` of one backbone, nothing taken away."""
    return window_tokens(Sight(backbone, detector, limit), images, windows, cache=cache, batch=batch)


def window_tokens(
    sight: Sight,
    images: Sequence[Image],
    windows: Sequence[ArrayLike] | None = None,
    *,
    cache: FeatureCache | None = None,
    recent: Recent | None = None,
    batch: int = 32,
) -> list[list[RegionTokens]]:
    """Tokens of each window of each picture, from one pass of a backbone, whatever the number of windows.

    Args:
        sight: how.
        images: RGB, of any size.
        windows: (N_i, 4) pixels for each picture; None: one window, the whole picture.
        cache: entries are known by the pixels, the sight and the window.
        recent: the backbone's own tokens of the last pictures.
        batch: pictures in one backbone pass.

    Raises:
        BadInput: a window that is empty, swapped, or outside its picture.
    """
    asked = [
        np.array([[0, 0, *image.size]], np.float32) if windows is None else checked(windows[i], *image.size)
        for i, image in enumerate(images)
    ]
    found: list[list[RegionTokens]] = []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        found += _batch(sight, images[part], asked[part], cache, recent, batch)
    return found


def mean_feature(backbone: PictureBackbone, images: Sequence[Image], *, batch: int = 32) -> NDArray[np.float32]:
    """(W,) mean over whole pictures, at least one, of what `Sight.mean` is taken from."""
    total = np.zeros(region_width(backbone))
    for start in range(0, len(images), batch):
        tokens = picture_tokens(backbone, images[start : start + batch], batch=batch)
        maps = feature_maps(backbone, torch.from_numpy(tokens).float())
        total += torch.cat([part.mean((2, 3)) for part in maps], dim=1).double().sum(0).numpy()
    return (total / len(images)).astype(np.float32)


def _batch(
    sight: Sight,
    images: Sequence[Image],
    windows: Sequence[NDArray[np.float32]],
    cache: FeatureCache | None,
    recent: Recent | None,
    batch: int,
) -> list[list[RegionTokens]]:
    keys = [_keys(sight, image, rows) for image, rows in zip(images, windows, strict=True)]
    known = cache.get([key for of_image in keys for key in of_image]) if cache else {}
    found = {key: _unpacked(value, region_width(sight.backbone)) for key, value in known.items()}
    fresh: dict[bytes, bytes] = {}
    for whole in (True, False):
        wanted = [
            [n for n, key in enumerate(of_image) if key not in found and _is_whole(windows[i][n], images[i]) == whole]
            for i, of_image in enumerate(keys)
        ]
        new = [i for i, some in enumerate(wanted) if some]
        if not new:
            continue
        backbone = sight.backbone if whole else sight.near or sight.backbone
        pictures = [images[i] for i in new]
        tokens = picture_tokens(backbone, pictures, cache=recent, batch=batch)
        for i, token, proposed in zip(new, tokens, _proposals(sight, backbone, pictures, tokens), strict=True):
            maps = [part[0] for part in feature_maps(backbone, torch.from_numpy(token[None]).float())]
            mean = sight.mean
            if mean is not None and not whole:
                mean = torch.cat([part.mean((1, 2)) for part in maps]).numpy()
            for n in wanted[i]:
                key = keys[i][n]
                found[key] = _window(sight, maps, images[i], windows[i][n], proposed, mean)
                fresh[key] = found[key].features.tobytes() + found[key].boxes.tobytes()
    if cache and fresh:
        cache.put(fresh)
    return [[found[key] for key in of_image] for of_image in keys]


def _is_whole(window: NDArray[np.float32], image: Image) -> bool:
    return bool((window == np.array([0, 0, *image.size], np.float32)).all())


def _keys(sight: Sight, image: Image, windows: NDArray[np.float32]) -> list[bytes]:
    digest = hashlib.sha256(sight.fingerprint.encode())
    digest.update(f"{image.size}".encode())
    whole, detector = sight.backbone, sight.seeks
    near = sight.near or whole
    digest.update(whole.pixels(image).data)
    if near is not whole and not all(_is_whole(window, image) for window in windows):
        digest.update(near.pixels(image).data)
    if detector and detector.backbone != whole.fingerprint:  # it sees the picture in its own way
        digest.update(image.convert("RGB").tobytes())
    common = digest.digest()
    return [hashlib.sha256(common + window.tobytes()).digest() for window in windows]


def _proposals(
    sight: Sight, backbone: PictureBackbone, images: Sequence[Image], tokens: NDArray[np.float16]
) -> list[NDArray[np.float32]]:
    if not (detector := sight.seeks):
        return [np.empty((0, 4), np.float32)] * len(images)
    shared = tokens if detector.backbone == backbone.fingerprint else None
    return [regions.boxes for regions in detector.propose(images, limit=max(sight.limit, ENOUGH), tokens=shared)]


def _window(
    sight: Sight,
    maps: Sequence[Tensor],
    image: Image,
    window: NDArray[np.float32],
    proposed: NDArray[np.float32],
    mean: NDArray[np.float32] | None,
) -> RegionTokens:
    inner = proposed[inside(proposed, window) >= INSIDE][: sight.limit]
    kept = _cells(window, sight.cells) if sight.cells else inner
    shares = torch.from_numpy(encode(np.concatenate([window[None], kept]), *image.size)[:, :4])
    pooled = [pool(part, shares) for part in maps]
    if mean is not None:
        parts = torch.from_numpy(mean).split([part.shape[1] for part in pooled])
        pooled = [part - own for part, own in zip(pooled, parts, strict=True)]
    features = torch.cat([functional.normalize(part, dim=1) for part in pooled], dim=1)
    places = np.concatenate([np.array([WHOLE], np.float32), encode(relative(kept, window), 1, 1)])
    return RegionTokens(features.to(torch.float16).numpy(), places)


def _cells(window: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """The n x n equal parts of a window, row by row."""
    corner, extent = window[:2], (window[2:] - window[:2]) / n
    rows, columns = np.divmod(np.arange(n * n, dtype=np.float32), n)
    start = corner + np.stack([columns, rows], axis=1) * extent
    return np.concatenate([start, start + extent], axis=1).astype(np.float32)


def _unpacked(value: bytes, width: int) -> RegionTokens:
    rows = len(value) // (2 * width + 20)
    features = np.frombuffer(value, np.float16, rows * width).reshape(rows, width)
    return RegionTokens(features, np.frombuffer(value, np.float32, offset=2 * rows * width).reshape(rows, 5))
