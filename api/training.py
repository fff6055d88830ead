"""What is ingested, as training items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from encoders.data import TrainItem
from kg.catalogue.pictures import Pictures
from kg.graph.cypher.browse import TRAINING_PICTURES
from kg.records import caption
from kg.stores import Stores

__all__ = ["training_items"]


def training_items(stores: Stores, pictures: Pictures) -> Iterator[TrainItem]:
    """One item for every picture of a product that has a text; listings of one identity share the key."""
    for row in stores.graph.stream(TRAINING_PICTURES):
        if text := caption(row["title"], row["description"]):
            box = tuple(row["box"]) if row["box"] else None
            opened = partial(pictures.open, row["uri"], box)
            yield TrainItem(id=row["id"], key=row["identity"] or row["id"], text=text, open_picture=opened)
