"""An encoder that costs next to nothing, so that what is measured is everything around it: coarse colours of a picture
and hashed words of a text, projected at random.

Its checkpoint is a folder like any other; `config.json` names this module, so that workers and the API load it.
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

__all__ = ["Cheap", "load_encoder", "write_cheap"]

SIDE = 8  # pixels that a picture is looked at with


class Cheap:
    """Equal seeds give equal vectors.

    Args:
        seed: of the projection.
        dim: length of the vectors.
        words: buckets of the hash; the fewer, the less it can tell texts apart.
        pause_ms: what every forward pass takes at least, as if a device were at work.
    """

    name = "cheap"

    def __init__(self, *, seed: int = 1, dim: int = 64, words: int = 4096, pause_ms: float = 0) -> None:
        self.dim, self.words, self.pause_ms = dim, words, pause_ms
        random = np.random.default_rng(seed)
        self._colours = random.standard_normal((SIDE * SIDE * 3, dim)).astype(np.float32)
        self._words = random.standard_normal((words, dim)).astype(np.float32)
        self.fingerprint = hashlib.sha256(self._colours.tobytes() + self._words.tobytes()).hexdigest()

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        time.sleep(self.pause_ms / 1000)
        small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32).ravel() / 255 for image in images]
        return _unit(np.asarray(small, np.float32).reshape(len(images), -1) @ self._colours)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(self.pause_ms / 1000)
        rows = [self._words[[zlib.crc32(word.encode()) % self.words for word in text.split()]].sum(0) for text in texts]
        return _unit(np.asarray(rows, np.float32).reshape(len(texts), self.dim))

    def encode_items(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float32]:
        return _unit(self.encode_images(images) + self.encode_texts(texts))


def write_cheap(folder: Path, **values: Any) -> Path:
    """A checkpoint folder; `values` are arguments of `Cheap`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"encoder": f"{__name__}:load_encoder", **values}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "fingerprint").write_text(Cheap(**values).fingerprint, encoding="utf-8")
    return folder


def load_encoder(folder: Path, **_: object) -> Cheap:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Cheap(**{name: value for name, value in config.items() if name != "encoder"})


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
