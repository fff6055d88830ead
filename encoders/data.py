"""What an encoder is trained on, and the split that never depends on order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.protocol import Entities
from kg.records import Product, normalise

__all__ = [
    "Split",
    "TrainItem",
    "appended",
    "category_levels",
    "identities",
    "said",
    "split_of",
    "stated_entities",
    "with_entities",
]

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
        entities: (type, value) of what its fields state, see `stated_entities`.
        alike: by which text items are alike; None: by `text`.
        title: the text before anything was said after it; None: `text` is that.
    """

    id: str
    key: str
    text: str
    open_picture: Callable[[], Image]
    split: Split | None = None
    entities: tuple[tuple[str, str], ...] = ()
    alike: str | None = None
    title: str | None = None

    @property
    def part(self) -> Split:
        return self.split or split_of(self.key)


def split_of(key: str) -> Split:
    """20 % test, 10 % validation, the rest for training, by hash."""
    place = int(hashlib.sha1(f"skugraph:{key}".encode()).hexdigest(), 16) % 100
    return "test" if place < 20 else "val" if place < 30 else "train"


def stated_entities(product: Product) -> tuple[tuple[str, str], ...]:
    """(type, value) of a record's brand, of each level of its category (the whole path to it), and of its attributes:
    `kg.records.entity_key` of each is the key in the graph."""
    brand = [("brand", product.brand)] if product.brand else []
    return (*brand, *category_levels(product.category), *(one for one in product.attributes if one[1]))


def category_levels(path: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """("category", the whole path to it) of each level of a category, from the root down."""
    return tuple(("category", " > ".join(path[: depth + 1])) for depth in range(len(path)))


def appended(item: TrainItem) -> TrainItem:
    """The item with its entities as plain text after its own; what it is alike stays."""
    return replace(item, text=with_entities(item.text, item.entities), alike=item.alike or item.text, title=item.text)


def with_entities(text: str, entities: Entities) -> str:
    """A text with entities said after it."""
    return ". ".join(filter(None, (text, ", ".join(said(*one) for one in entities))))


def said(kind: str, value: str) -> str:
    """How an entity is said: of a category the last part of its path."""
    return value.rsplit(" > ", 1)[-1] if normalise(kind) == "category" else value


def identities(items: Sequence[TrainItem]) -> NDArray[np.int64]:
    """(N, 2): number of each item's key and of its text. Items that share either are positives of each other."""
    return np.stack([_numbers(item.key for item in items), _numbers(map(_alike, items))], axis=1)


def _alike(item: TrainItem) -> str:
    return normalise(item.text if item.alike is None else item.alike)


def _numbers(values: Iterable[str]) -> NDArray[np.int64]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], np.int64)
