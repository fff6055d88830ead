"""How an encoder looks at a picture: which tokens it makes of it, or of a window of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from encoders.backbones import PictureBackbone, picture_backbone
from encoders.features import FeatureCache, Recent, picture_tokens
from encoders.protocol import Regions
from encoders.regions.boxes import checked
from encoders.regions.detector import Detector
from encoders.regions.features import RegionTokens, Sight, window_tokens
from encoders.regions.maps import region_width
from kg.errors import BadInput

__all__ = ["Look", "make_look", "padded"]


class Look(Protocol):
    """Pictures to tokens.

    Attributes:
        fingerprint: hash of all that the tokens depend on.
        places: most tokens of a picture.
        width: length of a token.
        backbone: what computes them.
        detector: finds products; None where there is none.
        side: pixels of the square to which a whole picture can be brought beforehand; 0: it is needed as it is.
        mean: (W,) feature that is taken away (`encoders.regions.features.Sight`); None: none is.
    """

    fingerprint: str
    places: int
    width: int
    backbone: PictureBackbone
    detector: Detector | None
    side: int
    mean: NDArray[np.float32] | None

    def see(
        self, images: Sequence[Image], windows: Sequence[NDArray[np.float32]] | None = None
    ) -> list[list[RegionTokens]]:
        """Tokens of each window (N_i, 4, in pixels) of each RGB picture; None: one window, the whole picture.

        Raises:
            BadInput: a window that is empty, swapped, or outside its picture.
        """
        ...

    def propose(self, images: Sequence[Image], *, limit: int) -> list[Regions]:
        """What the detector finds: at most `limit` regions of each picture; none without a detector."""
        ...


def make_look(
    picture: Mapping[str, Any],
    detector: Detector | None,
    *,
    device: str,
    mean: NDArray[np.float32] | None = None,
    cache: FeatureCache | None = None,
    batch: int = 64,
) -> Look:
    """From the "picture" part of a config.

    Args:
        picture: "tokens" is "grid" (the backbone's), "grid+global" (their mean before them), "regions" (the window
            pooled, and at most "regions" proposals in it) or "cells" (the window pooled, and its "cells" x "cells"
            parts). For the last two "near" is the size at which windows of a picture are seen, 0: "size".
        detector: finds products.
        device: of torch.
        mean: see `encoders.regions.features.Sight`; grids do not use it.
        cache: of tokens.
        batch: pictures in one backbone pass.

    Raises:
        BadInput: no such kind of tokens, or regions without a detector.
    """
    backbone = picture_backbone(picture["backbone"], size=picture["size"], device=device)
    kind, limit, cells = picture.get("tokens", "grid"), picture.get("regions", 0), picture.get("cells", 0)
    if kind in ("regions", "cells"):
        if kind == "regions" and limit and detector is None:
            raise BadInput(f"picture.regions = {limit} and no detector", hint='"detector": "grid" needs no training')
        if kind == "cells" and cells < 1:
            raise BadInput(f"picture.cells = {cells}: tokens of the kind cells need at least 1")
        near = picture.get("near", 0)
        sight = Sight(
            backbone,
            detector,
            limit=limit if kind == "regions" else 0,
            cells=cells if kind == "cells" else 0,
            near=picture_backbone(picture["backbone"], size=near, device=device) if near else None,
            mean=mean,
        )
        return _RegionLook(sight, cache, batch)
    if kind not in ("grid", "grid+global"):
        raise BadInput(f"picture.tokens = {kind!r}", hint="there are grid, grid+global, regions and cells")
    return _GridLook(backbone, detector, kind == "grid+global", cache, batch)


def padded(seen: Sequence[RegionTokens], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Features (B, R, W) float32, boxes (B, R, 5), mask (B, R) of pictures with R tokens at most."""
    most = max(len(tokens.boxes) for tokens in seen)
    features = np.zeros((len(seen), most, seen[0].features.shape[1]), np.float16)
    boxes = np.zeros((len(seen), most, 5), np.float32)
    mask = np.zeros((len(seen), most), bool)
    for i, tokens in enumerate(seen):
        count = len(tokens.boxes)
        features[i, :count], boxes[i, :count], mask[i, :count] = tokens.features, tokens.boxes, True
    return (
        torch.from_numpy(features).to(device).float(),
        torch.from_numpy(boxes).to(device),
        torch.from_numpy(mask).to(device),
    )


class _GridLook:
    """All tokens of the backbone. A window is cut out and seen as a picture of its own."""

    def __init__(
        self,
        backbone: PictureBackbone,
        detector: Detector | None,
        with_global: bool,
        cache: FeatureCache | None,
        batch: int,
    ) -> None:
        self.backbone, self.detector, self.with_global = backbone, detector, with_global
        self.mean: NDArray[np.float32] | None = None
        self.cache, self.batch = cache, batch
        self.places, self.width, self.side = backbone.places + with_global, backbone.width, backbone.size
        self.fingerprint = hashlib.sha256(f"grid {with_global} {backbone.fingerprint}".encode()).hexdigest()
        side = math.isqrt(backbone.places)
        cells = [(x / side, y / side, (x + 1) / side, (y + 1) / side) for y in range(side) for x in range(side)]
        extra = self.places - len(cells)  # tokens of the whole picture come first
        self.boxes = np.array([(0, 0, 1, 1, 1)] * extra + [(*cell, side**-2) for cell in cells], np.float32)

    def see(
        self, images: Sequence[Image], windows: Sequence[NDArray[np.float32]] | None = None
    ) -> list[list[RegionTokens]]:
        if windows is None:
            return [[tokens] for tokens in self._tokens(images)]
        rows = [checked(boxes, *image.size) for image, boxes in zip(images, windows, strict=True)]
        cuts = (_cut(image, box) for image, boxes in zip(images, rows, strict=True) for box in boxes)
        seen = iter(self._tokens(list(cuts)))
        return [[next(seen) for _ in boxes] for boxes in rows]

    def propose(self, images: Sequence[Image], *, limit: int) -> list[Regions]:
        return self.detector.propose(images, limit=limit) if self.detector else []

    def _tokens(self, images: Sequence[Image]) -> list[RegionTokens]:
        tokens = picture_tokens(self.backbone, images, cache=self.cache, batch=self.batch)
        if self.with_global:
            tokens = np.concatenate(
                [tokens.mean(axis=1, keepdims=True, dtype=np.float32).astype(np.float16), tokens], 1
            )
        return [RegionTokens(features, self.boxes) for features in tokens]


class _RegionLook:
    """The window pooled, and the regions in it, from one backbone pass a picture."""

    def __init__(self, sight: Sight, cache: FeatureCache | None, batch: int) -> None:
        self.sight, self.cache, self.recent, self.batch = sight, cache, Recent(), batch
        self.backbone, self.detector, self.mean = sight.backbone, sight.detector, sight.mean
        self.places, self.width, self.fingerprint = sight.places, region_width(sight.backbone), sight.fingerprint
        self.side = 0  # the detector, or the near backbone, may look at more than the backbone

    def see(
        self, images: Sequence[Image], windows: Sequence[NDArray[np.float32]] | None = None
    ) -> list[list[RegionTokens]]:
        return window_tokens(self.sight, images, windows, cache=self.cache, recent=self.recent, batch=self.batch)

    def propose(self, images: Sequence[Image], *, limit: int) -> list[Regions]:
        """Where the detector reads the tokens that the windows are then pooled from, they are computed once."""
        if self.detector is None:
            return []
        for backbone in (self.sight.near, self.backbone):
            if backbone is not None and backbone.fingerprint == self.detector.backbone:
                tokens = picture_tokens(backbone, images, cache=self.recent, batch=self.batch)
                return self.detector.propose(images, limit=limit, tokens=tokens)
        return self.detector.propose(images, limit=limit)


def _cut(image: Image, box: NDArray[np.float32]) -> Image:
    """Whole pixels: every pixel that the box touches."""
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    return image if (left, top, right, bottom) == (0, 0, *image.size) else image.crop((left, top, right, bottom))
