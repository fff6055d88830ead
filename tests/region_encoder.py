"""The tiny encoder with eyes: it finds whatever stands out from the background, and embeds each find as a picture.

A real detector for pictures with products on a background of one colour. Its checkpoint is a folder like any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.protocol import Regions
from tests.tiny_encoder import TinyEncoder

__all__ = ["BackgroundDetector", "TinyRegionEncoder", "load_encoder", "write_tiny_regions"]


class BackgroundDetector:
    """Connected parts that differ from the colour of the upper left pixel; a score is the part's share of its box.

    Args:
        difference: smallest distance in one channel, 0 to 255, that counts.
    """

    name = "background"

    def __init__(self, difference: int = 24) -> None:
        self.difference = difference
        self.fingerprint = hashlib.sha256(f"background {difference}".encode()).hexdigest()

    def propose(self, images: Sequence[Image], *, limit: int = 36, tokens: object = None) -> list[Regions]:
        return [self._regions(image, limit) for image in images]

    def _regions(self, image: Image, limit: int) -> Regions:
        pixels = np.asarray(image.convert("RGB"), np.int16)
        different = (np.abs(pixels - pixels[0, 0]).max(axis=2) >= self.difference).astype(np.uint8)
        _, _, parts, _ = cv2.connectedComponentsWithStats(different, connectivity=8)
        x, y, width, height, area = parts[1:].astype(np.float32).T  # the first part is the background
        scores = area / (width * height)
        best = np.lexsort((y, x, -area, -scores))[:limit]
        return Regions(np.stack([x, y, x + width, y + height], axis=1)[best], scores[best])


class TinyRegionEncoder(TinyEncoder):
    """`TinyEncoder` that is a `RegionEncoder`: a region's vector is that of the crop."""

    def __init__(self, *, difference: int = 24, **values: Any) -> None:
        super().__init__(**values)
        self.name, self.detector = "tiny_regions", BackgroundDetector(difference)

    def propose(self, images: Sequence[Image], *, limit: int = 36) -> list[Regions]:
        return self.detector.propose(images, limit=limit)

    def encode_regions(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        found = []
        for image, rows in zip(images, boxes, strict=True):
            crops = [image.crop((int(x1), int(y1), int(x2), int(y2))) for x1, y1, x2, y2 in rows.tolist()]
            found.append(self.encode_images(crops))
        return found

    def save_pretrained(self, folder: Path) -> None:
        values = {"seed": self.seed, "dim": self.dim, "seconds": self.seconds}
        write_tiny_regions(folder, difference=self.detector.difference, **values)


def write_tiny_regions(folder: Path, *, difference: int = 24, **values: Any) -> Path:
    """A checkpoint folder for `encoders.load`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"encoder": "tests.region_encoder:load_encoder", "detector": {"difference": difference}, **values}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def load_encoder(folder: Path, **_: object) -> TinyRegionEncoder:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return TinyRegionEncoder(
        **config["detector"], **{name: value for name, value in config.items() if name not in ("encoder", "detector")}
    )
