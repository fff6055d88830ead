"""What an encoder is trained on, and the split that never depends on order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from kg.records import normalise

__all__ = ["Split", "TrainItem", "identities", "split_of"]

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class TrainItem:
    """One picture with its text.

    Attributes:
        id: of the listing.
        key: of the product: items of one key show the same product, and fall into the same split.
        text: what is said of it.
        open_picture: gives the RGB picture, already cropped to the product where there is a box.
        split: where the data set has a split of its own; None: by hash of the key.
    """

    id: str
    key: str
    text: str
    open_picture: Callable[[], Image]
    split: Split | None = None

    @property
    def part(self) -> Split:
        return self.split or split_of(self.key)


def split_of(key: str) -> Split:
    """20 % test, 10 % validation, the rest for training, by hash."""
    place = int(hashlib.sha1(f"skugraph:{key}".encode()).hexdigest(), 16) % 100
    return "test" if place < 20 else "val" if place < 30 else "train"


def identities(items: Sequence[TrainItem]) -> NDArray[np.int64]:
    """(N, 2): number of each item's key and of its text. Items that share either are positives of each other."""
    return np.stack([_numbers(item.key for item in items), _numbers(normalise(item.text) for item in items)], axis=1)


def _numbers(values: Iterable[str]) -> NDArray[np.int64]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], np.int64)
