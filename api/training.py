"""What is ingested, as training items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from encoders.data import TrainItem
from kg.catalogue.pictures import Pictures
from kg.feed import Stated, stated
from kg.graph.cypher.browse import TRAINING_ENTITIES, TRAINING_PICTURES
from kg.records import caption
from kg.stores import Stores

__all__ = ["training_items"]


def training_items(stores: Stores, pictures: Pictures) -> Iterator[TrainItem]:
    """One item for every picture of a product that has a text, with what the product's fields state; listings of one
    identity share the key."""
    entities = _entities(stores)
    for row in stores.graph.stream(TRAINING_PICTURES):
        if text := caption(row["title"], row["description"]):
            box = tuple(row["box"]) if row["box"] else None
            opened = partial(pictures.open, row["uri"], box)
            yield TrainItem(
                id=row["id"],
                key=row["identity"] or row["id"],
                text=text,
                open_picture=opened,
                entities=entities.get(row["id"], ()),
            )


def _entities(stores: Stores) -> dict[str, Stated]:
    """Product → what its fields state; products that state the same share one tuple."""
    known: dict[Stated, Stated] = {}
    found = ((row["id"], stated(row)) for row in stores.graph.stream(TRAINING_ENTITIES))
    return {product: known.setdefault(entities, entities) for product, entities in found}
