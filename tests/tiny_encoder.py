"""A small but real encoder: coarse colours of a picture and hashed words of a text, both projected to 64 dimensions.

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

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

__all__ = ["TinyEncoder", "load_encoder", "write_tiny"]

SIDE, WORDS = 8, 512


class TinyEncoder:
    """`seconds` is what every forward pass takes at least, so that a test can interrupt one."""

    def __init__(self, *, seed: int = 7, dim: int = 64, seconds: float = 0) -> None:
        self.seed, self.dim, self.seconds, self.name = seed, dim, seconds, "tiny"
        random = np.random.default_rng(seed)
        self._colours = random.standard_normal((SIDE * SIDE * 3, dim)).astype(np.float32)
        self._words = random.standard_normal((WORDS, dim)).astype(np.float32)
        self.fingerprint = hashlib.sha256(self._colours.tobytes() + self._words.tobytes()).hexdigest()

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32).ravel() / 255 for image in images]
        return _unit(np.asarray(small, np.float32).reshape(len(images), -1) @ self._colours)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        counts = np.zeros((len(texts), WORDS), np.float32)
        for row, text in zip(counts, texts, strict=True):
            for word in text.lower().split():
                row[zlib.crc32(word.encode()) % WORDS] += 1
        return _unit(counts @ self._words)

    def encode_items(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float32]:
        return _unit(self.encode_images(images) + self.encode_texts(texts))

    def save_pretrained(self, folder: Path) -> None:
        write_tiny(folder, seed=self.seed, dim=self.dim, seconds=self.seconds)


def write_tiny(folder: Path, **values: Any) -> Path:
    """A checkpoint folder for `encoders.load`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"encoder": "tests.tiny_encoder:load_encoder", **values}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def load_encoder(folder: Path, **_: object) -> TinyEncoder:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return TinyEncoder(**{name: value for name, value in config.items() if name != "encoder"})


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
