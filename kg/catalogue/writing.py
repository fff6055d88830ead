"""Listings into the graph and out of it: each call is one transaction, with a revision number for every change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kg.graph.cypher import catalogue as cypher
from kg.graph.driver import Graph, Tx
from kg.records import Entity, Product

__all__ = ["Listing", "known", "put", "put_entities", "put_new", "remove", "touch"]

Row = dict[str, Any]
Stated = Mapping[str, Mapping[str, Entity]]  # id of a product → key → what its fields state
LABELS = {"brand": "Brand", "category": "Category"}


@dataclass(frozen=True, slots=True)
class Listing:
    """A product with its pictures measured, and the hash of the row and pictures that it came from."""

    product: Product
    source: str
    content: str = field(init=False)  # hash of the product, which takes a while

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", self.product.hash)


def known(graph: Graph, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Source and content hash of those of the ids that the graph holds."""
    return {row["id"]: (row["source"], row["content"]) for row in graph.read(cypher.KNOWN, ids=list(ids))}


def put(graph: Graph, listings: Sequence[Listing]) -> None:
    """Write listings, whole, whether new or changed; phrases found in an earlier caption are taken off."""
    products = [listing.product for listing in listings]
    ids = sorted(product.id for product in products)
    stated = {product.id: _entities(product) for product in products}

    def work(tx: Tx) -> None:
        before = tx.run(cypher.REVISION_TAKE, n=len(listings))[0]["before"]
        standing = tx.run(cypher.STANDING, ids=ids)
        if standing:
            _clear(tx, [row["id"] for row in standing])
        tx.run(cypher.REMOVED_FORGET, ids=ids)
        _count(tx, standing, stated)
        there = {row["id"] for row in standing}
        rows = [_row(listing, before + number) for number, listing in enumerate(listings, 1)]
        if old := [row for row in rows if row["id"] in there]:
            tx.run(cypher.PRODUCTS, rows=old)
        if new := [row for row in rows if row["id"] not in there]:
            tx.run(cypher.PRODUCTS_NEW, rows=new)
        _link(tx, stated)
        _put_pictures(tx, products)
        _settle(tx, standing, [product.identity for product in products])

    graph.transaction(work)


def put_new(graph: Graph, listings: Sequence[Listing]) -> None:
    """Write listings that the graph never held, while nobody else writes to it: they are not looked for."""
    products = [listing.product for listing in listings]
    stated = {product.id: _entities(product) for product in products}

    def work(tx: Tx) -> None:
        before = tx.run(cypher.REVISION_TAKE, n=len(listings))[0]["before"]
        _count(tx, [], stated)
        tx.run(cypher.PRODUCTS_NEW, rows=[_row(listing, before + number) for number, listing in enumerate(listings, 1)])
        _link(tx, stated)
        _put_pictures(tx, products)
        _settle(tx, [], [product.identity for product in products])

    graph.transaction(work)


def touch(graph: Graph, listings: Sequence[Listing]) -> None:
    """Note that another row, or pictures that lie elsewhere, give the very same products."""
    moved = {picture.sha256: picture.uri for listing in listings for picture in listing.product.pictures}

    def work(tx: Tx) -> None:
        tx.run(cypher.REVISION_TAKE, n=0)
        tx.run(cypher.PRODUCTS_SEEN, rows=[{"id": one.product.id, "source": one.source} for one in listings])
        tx.run(cypher.IMAGES_MOVED, rows=[{"id": image, "uri": moved[image]} for image in sorted(moved)])

    graph.transaction(work)


def remove(graph: Graph, ids: Sequence[str]) -> None:
    """Take products out, with their instances and the pictures that show nothing else; `Removed` nodes stay."""

    def work(tx: Tx) -> None:
        before = tx.run(cypher.REVISION_TAKE, n=len(ids))[0]["before"]
        standing = tx.run(cypher.STANDING, ids=sorted(ids))
        _clear(tx, [row["id"] for row in standing])
        _count(tx, standing, {})
        tx.run(cypher.PRODUCTS_REMOVE, ids=sorted(ids))
        tx.run(cypher.REMOVED, rows=[{"id": id, "revision": before + n} for n, id in enumerate(sorted(ids), 1)])
        _settle(tx, standing, [])

    graph.transaction(work)


def _link(tx: Tx, stated: Stated) -> None:
    """Products to what their fields state."""
    for kind, statement in cypher.LINKS.items():
        rows = [
            {"id": id, "key": key}
            for id, entities in stated.items()
            for key, entity in entities.items()
            if (entity.type if entity.type in LABELS else "attribute") == kind
        ]
        if rows:
            tx.run(statement, rows=rows)


def _clear(tx: Tx, ids: list[str]) -> None:
    for statement in (cypher.CLEAR_LINKS, cypher.CLEAR_SAME, cypher.CLEAR_SHOWS, cypher.CLEAR_INSTANCES):
        tx.run(statement, ids=ids)


def _count(tx: Tx, standing: Sequence[Row], stated: Stated) -> None:
    """The products of each entity, after the change; entities that are missing are made. Counting tells which those
    are: to look first would be one read more for each entity."""
    entities = {key: entity for found in stated.values() for key, entity in found.items()}
    counts = Counter(key for found in stated.values() for key in found)
    counts.subtract(key for row in standing for key in row["keys"])
    rows: list[Row] = [{"key": key, "n": n} for key, n in sorted(counts.items()) if n]
    there = {row["key"] for row in tx.run(cypher.ENTITY_COUNTS, rows=rows)} if rows else set()
    if new := [row for row in rows if row["key"] not in there and row["key"] in entities]:
        put_entities(tx, [entities[row["key"]] for row in new])
        tx.run(cypher.ENTITY_COUNTS, rows=new)


def _settle(tx: Tx, standing: Sequence[Row], identities: Iterable[str]) -> None:
    """What follows from the change: groups of the same product, pictures that show nothing."""
    groups = sorted({*identities, *(row["identity"] or "" for row in standing)} - {""})
    if wrong := tx.run(cypher.SAME_WRONG, identities=groups) if groups else []:
        tx.run(cypher.SAME_MOVED, rows=[row for row in wrong if row["hub"]])
        tx.run(cypher.SAME, rows=[row for row in wrong if row["id"] != row["least"]])
    if images := sorted({image for row in standing for image in row["images"]}):
        tx.run(cypher.IMAGES_PRUNE, ids=images)


def _entities(product: Product) -> dict[str, Entity]:
    return {entity.key: entity for entity, _ in product.entities()}


def put_entities(tx: Tx, entities: Iterable[Entity]) -> None:
    """Entities that are not there yet, and the categories above them; the transaction holds the counter's lock."""
    rows: dict[str, dict[str, Row]] = {"Brand": {}, "Category": {}, "Attribute": {}}
    below: dict[str, str] = {}
    for entity in entities:
        for depth in range(1, len(entity.path)):
            above = Entity(type=entity.type, text=entity.path[depth - 1], path=entity.path[:depth])
            child = Entity(type=entity.type, text=entity.path[depth], path=entity.path[: depth + 1])
            rows["Category"][above.key] = _entity(above)
            below[child.key] = above.key
        rows[LABELS.get(entity.type, "Attribute")][entity.key] = _entity(entity)
    keys = sorted({key for found in rows.values() for key in found})
    there = {row["key"]: row["hangs"] for row in tx.run(cypher.ENTITIES_PRESENT, keys=keys)} if keys else {}
    for label, found in rows.items():
        if new := sorted(found.keys() - there.keys()):
            tx.run(cypher.ENTITIES[label], rows=[found[key] for key in new])
    if loose := sorted(key for key in below if not there.get(key)):
        tx.run(cypher.CHILD_OF, rows=[{"key": key, "parent": below[key]} for key in loose])


def _entity(entity: Entity) -> Row:
    return {"key": entity.key, "text": entity.text, "type": entity.type, "path": list(entity.path) or None}


def _row(listing: Listing, revision: int) -> Row:
    product = listing.product
    values = {
        "title": product.title,
        "price": product.price,
        "content_hash": listing.content,
        "source_hash": listing.source,
        "revision": revision,
    }
    # An empty word is absent: no index holds all that have none under one key.
    values |= {
        name: getattr(product, name) or None for name in ("description", "url", "seller", "currency", "identity")
    }
    updated = product.updated_at.isoformat() if product.updated_at else None
    return {"id": product.id, "values": values, "updated_at": updated}


def _put_pictures(tx: Tx, products: Sequence[Product]) -> None:
    images, shows, instances = {}, {}, []
    for product in products:
        for number, picture in enumerate(product.pictures):
            images[picture.sha256] = {
                "id": picture.sha256,
                "uri": picture.uri,
                "width": picture.width,
                "height": picture.height,
            }
            shows[product.id, picture.sha256] = {"id": product.id, "image": picture.sha256}
            instances.append(
                {
                    "id": product.id,
                    "instance": f"{product.id}#img{number}",
                    "image": picture.sha256,
                    "box": list(picture.box) if picture.box else None,
                }
            )
    if images:
        tx.run(cypher.IMAGES, rows=[images[key] for key in sorted(images)])
        tx.run(cypher.SHOWS, rows=list(shows.values()))
        tx.run(cypher.INSTANCES, rows=instances)
    texts = [{"id": product.id, "instance": f"{product.id}#txt"} for product in products if product.title]
    tx.run(cypher.TEXTS, rows=texts)
