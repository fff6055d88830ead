"""Listings that may be of the very same product, by their stored vectors: no encoder is needed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from api import planner, plans
from api.planner import Plan
from api.plans import Ask
from kg.graph.selection import Selection
from kg.regions import split_region
from kg.settings import InstanceKind
from kg.stores import Stores
from kg.vectors.generations import Generation

__all__ = ["DEPTH", "WAYS", "near", "stored", "ways_of"]

DEPTH = 50  # nearest listings that are looked at, by each kind of vector
BATCH = 64  # listings asked for at a time
PLAIN = Plan("attribute", "a plain search")

# How two listings are compared: the kinds of vectors whose cosines are averaged. A listing that lacks one is not found.
WAYS: dict[str, tuple[InstanceKind, ...]] = {
    "image": ("image",),
    "text": ("text",),
    "fused": ("fused",),
    "image+text": ("image", "text"),
}

Vectors = Mapping[str, NDArray[np.float32]]  # product → (Q, D)
Scores = dict[str, float]  # product → score


def ways_of(generation: Generation) -> list[str]:
    """Those that its vectors allow."""
    return [way for way, kinds in WAYS.items() if set(kinds) <= set(generation.kinds)]


def stored(stores: Stores, generation: Generation, kind: InstanceKind, ids: Sequence[str]) -> Vectors:
    """Vectors of these products' own instances, without those of regions: they may show what stands beside."""
    found = stores.vectors.fetch(generation.collections(stores.vectors.prefix)[kind], ids)
    rows: dict[str, list[int]] = {}
    for row, (instance, product) in enumerate(zip(found.instance_ids, found.product_ids, strict=True)):
        if split_region(instance)[1] is None:
            rows.setdefault(product, []).append(row)
    return {product: found.vectors[own] for product, own in rows.items()}


def near(
    stores: Stores, generation: Generation, ids: Sequence[str], ways: Sequence[str], *, depth: int = DEPTH
) -> dict[str, dict[str, Scores]]:
    """Way → product of `ids` → the other listings near it, with their scores.

    A way sees what is among the `depth` nearest by any of its kinds, and scores all of that by each of them.
    """
    kinds = sorted({kind for way in ways for kind in WAYS[way]})
    collections = generation.collections(stores.vectors.prefix)
    found: dict[str, dict[str, Scores]] = {way: {} for way in ways}
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        vectors = {kind: stored(stores, generation, kind, some) for kind in kinds}
        lists = {kind: _nearest(stores, collections[kind], vectors[kind], depth) for kind in kinds}
        for way in ways:
            first, *more = WAYS[way]
            asked = [id for id in some if all(id in vectors[kind] for kind in (first, *more))]
            tables = {first: lists[first]}
            if more:
                seen = sorted({one for kind in WAYS[way] for id in asked for one in lists[kind][id]})
                tables = {
                    k: _scored(stores, collections[k], {id: vectors[k][id] for id in asked}, seen) for k in WAYS[way]
                }
            for id in asked:
                reached = {one for kind in WAYS[way] for one in lists[kind][id]} - {id}
                both = [one for one in reached if all(one in table[id] for table in tables.values())]
                found[way][id] = {one: float(np.mean([table[id][one] for table in tables.values()])) for one in both}
    return found


def _nearest(stores: Stores, collection: str, vectors: Vectors, depth: int) -> dict[str, Scores]:
    """Each product's `depth` nearest others, by this kind."""
    ask = Ask(stores.vectors, collection, tuple(vectors.values()), depth + 1)  # one of them may be the product itself
    ranked = planner.run(stores, PLAIN, Selection(), ask) if vectors else []
    return {
        id: {item.product_id: item.score for item in [item for item in one if item.product_id != id][:depth]}
        for id, one in zip(vectors, ranked, strict=True)
    }


def _scored(stores: Stores, collection: str, vectors: Vectors, others: Sequence[str]) -> dict[str, Scores]:
    """Each product against all of `others` that have vectors of this kind."""
    ask = Ask(stores.vectors, collection, tuple(vectors.values()), len(others))
    ranked = plans.exact(ask, others) if vectors else []
    return {id: {item.product_id: item.score for item in one} for id, one in zip(vectors, ranked, strict=True)}
