"""A small but real encoder: coarse colours of a picture and hashed words of a text, both projected to 64 dimensions.

With `detector` it also finds products: whatever differs from a plain background, each piece for itself. With `entities`
it reads them beside a text, each as one word more.

Its checkpoint is a folder like any other; `config.json` names this module, so the worker process loads it by itself.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.protocol import Entities, Regions
from kg.records import entity_key

__all__ = ["TinyEncoder", "load_encoder", "write_tiny"]

SIDE, WORDS = 8, 512
PLAIN = 24  # levels by which a background may differ from its corner


class TinyEncoder:
    """`seconds` is what every forward pass takes at least, so that a test can interrupt one."""

    def __init__(
        self, *, seed: int = 7, dim: int = 64, seconds: float = 0, detector: bool = False, entities: bool = False
    ) -> None:
        self.seed, self.dim, self.seconds, self.name, self.takes_entities = seed, dim, seconds, "tiny", entities
        self.detector = "difference from the background" if detector else None
        random = np.random.default_rng(seed)
        self._colours = random.standard_normal((SIDE * SIDE * 3, dim)).astype(np.float32)
        self._words = random.standard_normal((WORDS, dim)).astype(np.float32)
        weights = self._colours.tobytes() + self._words.tobytes()
        more = (self.detector or "") + ("entities" if entities else "")
        self.fingerprint = hashlib.sha256(weights + more.encode()).hexdigest()

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32).ravel() / 255 for image in images]
        return _unit(np.asarray(small, np.float32).reshape(len(images), -1) @ self._colours)

    def encode_texts(self, texts: Sequence[str], entities: Sequence[Entities] | None = None) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        assert entities is None or self.takes_entities
        counts = np.zeros((len(texts), WORDS), np.float32)
        for row, text, given in zip(counts, texts, entities or [()] * len(texts), strict=True):
            for word in [*text.lower().split(), *(entity_key(*one) for one in given)]:
                row[zlib.crc32(word.encode()) % WORDS] += 1
        return _unit(counts @ self._words)

    def encode_items(
        self, images: Sequence[Image], texts: Sequence[str], entities: Sequence[Entities] | None = None
    ) -> NDArray[np.float32]:
        return _unit(self.encode_images(images) + self.encode_texts(texts, entities))

    def propose(self, images: Sequence[Image], *, limit: int = 36) -> list[Regions]:
        """The pieces that differ from the first corner; the root of their share of the picture is their score."""
        assert self.detector
        return [_pieces(np.asarray(image.convert("RGB"), np.int16), limit) for image in images]

    def encode_regions(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        return [
            self.encode_images([image.crop(tuple(np.rint(box).astype(int).tolist())) for box in own])
            for image, own in zip(images, boxes, strict=True)
        ]

    def save_pretrained(self, folder: Path) -> None:
        values = {"seed": self.seed, "dim": self.dim, "seconds": self.seconds, "entities": self.takes_entities}
        write_tiny(folder, detector=bool(self.detector), **values)


def write_tiny(folder: Path, **values: Any) -> Path:
    """A checkpoint folder for `encoders.load`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"encoder": "tests.tiny_encoder:load_encoder", **values}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def load_encoder(folder: Path, **_: object) -> TinyEncoder:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return TinyEncoder(**{name: value for name, value in config.items() if name != "encoder"})


def _pieces(pixels: NDArray[np.int16], limit: int) -> Regions:
    differs = (np.abs(pixels - pixels[0, 0]).max(axis=2) > PLAIN).astype(np.uint8)
    _, _, found, _ = cv2.connectedComponentsWithStats(differs)
    left, top, width, height, _ = found[1:].T.astype(np.float32)
    scores = np.sqrt(width * height / differs.size)
    best = np.argsort(-scores, kind="stable")[:limit]
    return Regions(np.stack([left, top, left + width, top + height], axis=1)[best], scores[best])


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
