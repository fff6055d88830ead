"""What the rest of skugraph knows of an encoder. Light: importing this does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

__all__ = ["Encoder"]


@runtime_checkable
class Encoder(Protocol):
    """Pictures and texts into one space.

    Every `encode_*` returns float32 of shape (N, dim), L2-normalised rows, in the order given; N may be 0. Pictures
    are RGB; a region is cropped by the caller. Results do not depend on how the inputs are batched (to 1e-5).

    Attributes:
        name: architecture and configuration, e.g. "clip_style".
        dim: length of a vector.
        fingerprint: hash over weights, preprocessing, tokenizer and config; equal fingerprints give equal vectors.
    """

    name: str
    dim: int
    fingerprint: str

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]: ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def encode_items(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float32]:
        """Picture and text of one item as one vector; both sequences have length N."""
        ...

    def save_pretrained(self, folder: Path) -> None: ...
