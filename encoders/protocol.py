"""What the rest of skugraph knows of an encoder. Light: importing this does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from kg.errors import BadInput

__all__ = [
    "Encoder",
    "Entities",
    "EntityEncoder",
    "RegionEncoder",
    "Regions",
    "SmallPictures",
    "entity_encoder",
    "region_encoder",
    "takes_entities",
]

Entities = Sequence[tuple[str, str]]  # (type, value) of one text; of a category the value is its path, joined by " > "


@dataclass(frozen=True)
class Regions:
    """Where products may be in one picture, best first.

    Attributes:
        boxes: (N, 4) float32, x1, y1, x2, y2 in pixels of that picture, inside it, none empty; N may be 0.
        scores: (N,) float32 in 0 … 1, descending.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


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


@runtime_checkable
class RegionEncoder(Encoder, Protocol):
    """An encoder that also finds the products in a picture, and embeds each in its place."""

    def propose(self, images: Sequence[Image], *, limit: int = 36) -> list[Regions]:
        """At most `limit` regions of each picture."""
        ...

    def encode_regions(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """(N_i, 4) boxes of each picture to (N_i, dim), unit rows: what `encode_images` would give for the product
        shown there. The box of the whole picture gives exactly the vector of `encode_images`."""
        ...


@runtime_checkable
class EntityEncoder(Encoder, Protocol):
    """An encoder that also reads what fields state of a text: brand, category, colour, …

    Entities are given text by text, as many as are known of each. Of types that are not given, the encoder looks for
    entities in the text itself; None: nothing is given of any text. A value that training has not seen is the unknown
    one of its type, and a type that it has not seen counts for nothing.

    Attributes:
        takes_entities: whether it does; an architecture may do so by its config.
    """

    takes_entities: bool

    def encode_texts(self, texts: Sequence[str], entities: Sequence[Entities] | None = None) -> NDArray[np.float32]: ...

    def encode_items(
        self, images: Sequence[Image], texts: Sequence[str], entities: Sequence[Entities] | None = None
    ) -> NDArray[np.float32]: ...


@runtime_checkable
class SmallPictures(Protocol):
    """An encoder that sees a picture, where it takes it as a whole, only in a small square.

    Who has threads to spare makes pictures small before they come to `encode_images` or `encode_items`.

    Attributes:
        side: of that square, in pixels; 0 where it needs the picture as it is, and `shrink` gives that back.
    """

    side: int

    def shrink(self, image: Image) -> Image:
        """The square, whose vector is exactly that of `image`. Threads may call this at the same time."""
        ...


def region_encoder(encoder: Encoder) -> RegionEncoder:
    """`encoder`, if it can find products in a picture.

    Raises:
        BadInput: it has no detector.
    """
    if getattr(encoder, "detector", None) is None or not isinstance(encoder, RegionEncoder):
        raise BadInput(
            f"encoder {encoder.name} ({encoder.fingerprint[:10]}…) has no detector: it sees a picture only as a whole",
            hint="train one whose config names a detector, e.g. `skugraph train capture`, or give the boxes",
        )
    return encoder


def takes_entities(encoder: Encoder) -> bool:
    """Whether it is an `EntityEncoder`."""
    return bool(getattr(encoder, "takes_entities", False))


def entity_encoder(encoder: Encoder) -> EntityEncoder:
    """`encoder`, if it reads entities beside texts.

    Raises:
        BadInput: it does not.
    """
    if not takes_entities(encoder):
        raise BadInput(
            f"encoder {encoder.name} ({encoder.fingerprint[:10]}…) reads texts only: it takes no entities beside them",
            hint="train one that does, e.g. `skugraph train ei_clip`, or write them into the text",
        )
    return encoder  # type: ignore[return-value]
