"""Listings into the graph and out of it: each call is one transaction, with a revision number for every change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kg.graph.cypher import catalogue as cypher
from kg.graph.driver import Graph, Tx
from kg.records import Entity, Product

__all__ = ["Listing", "known", "put", "put_entities", "put_new", "remove", "touch"]

Row = dict[str, Any]
LABELS = {"brand": "Brand", "category": "Category"}


@dataclass(frozen=True, slots=True)
class Listing:
    """A product with its pictures measured, and the hash of the row and pictures that it came from.

    All that needs no graph is made ready here, so that one thread can do it while another writes what came before.

    Args:
        content: `product.hash`, where it is known already.
    """

    product: Product
    source: str
    content: str = ""
    entities: dict[str, Entity] = field(init=False, compare=False, repr=False)  # what its fields state, by key
    row: Row = field(init=False, compare=False, repr=False)  # of the statements PRODUCTS, less its revision

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", self.content or self.product.hash)
        object.__setattr__(self, "entities", {entity.key: entity for entity, _ in self.product.entities()})
        object.__setattr__(self, "row", _row(self))


def known(graph: Graph, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Source and content hash of those of the ids that the graph holds."""
    [found] = graph.read(cypher.KNOWN, ids=list(ids))
    return {id: (source, content) for id, source, content in found["products"]}


def put(graph: Graph, listings: Sequence[Listing]) -> None:
    """Write listings, whole, whether new or changed; phrases found in an earlier caption are taken off."""
    ids = sorted(listing.product.id for listing in listings)

    def work(tx: Tx) -> None:
        before = tx.run(cypher.REVISION_TAKE, n=len(listings))[0]["before"]
        [there] = tx.run(cypher.THERE, ids=ids)
        standing = tx.run(cypher.STANDING, ids=ids) if there["standing"] else []
        if standing:
            _clear(tx, [row["id"] for row in standing])
        if there["removed"]:
            tx.run(cypher.REMOVED_FORGET, ids=ids)
        _write(tx, listings, before, standing)

    graph.transaction(work)


def put_new(graph: Graph, listings: Sequence[Listing]) -> None:
    """Write listings that the graph never held, while nobody else writes to it: they are not looked for."""

    def work(tx: Tx) -> None:
        _write(tx, listings, tx.run(cypher.REVISION_TAKE, n=len(listings))[0]["before"], [])

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
        _count(tx, standing, [])
        tx.run(cypher.PRODUCTS_REMOVE, ids=sorted(ids))
        tx.run(cypher.REMOVED, rows=[{"id": id, "revision": before + n} for n, id in enumerate(sorted(ids), 1)])
        _settle(tx, standing, [])

    graph.transaction(work)


def _write(tx: Tx, listings: Sequence[Listing], before: int, standing: Sequence[Row]) -> None:
    """Listings with the revisions after `before`; those that stand there have been cleared."""
    _count(tx, standing, listings)
    there = {row["id"] for row in standing}
    rows = [{**listing.row, "revision": before + number} for number, listing in enumerate(listings, 1)]
    if old := [row for row in rows if row["id"] in there]:
        tx.run(cypher.PRODUCTS, rows=old)
    if new := [row for row in rows if row["id"] not in there]:
        tx.run(cypher.PRODUCTS_NEW, rows=new)
    _put_pictures(tx, [listing.product for listing in listings])
    _settle(tx, standing, listings)


def _clear(tx: Tx, ids: list[str]) -> None:
    for statement in (cypher.CLEAR_LINKS, cypher.CLEAR_SAME, cypher.CLEAR_SHOWS, cypher.CLEAR_INSTANCES):
        tx.run(statement, ids=ids)


def _count(tx: Tx, standing: Sequence[Row], listings: Sequence[Listing]) -> None:
    """The products of each entity, after the change; entities that are missing are made."""
    entities = {key: entity for listing in listings for key, entity in listing.entities.items()}
    counts = Counter(key for listing in listings for key in listing.entities)
    counts.subtract(key for row in standing for key in row["keys"])
    rows: list[Row] = [{"key": key, "n": n} for key, n in sorted(counts.items()) if n]
    # Counting tells whether any is missing: to look first would be one read more for each entity.
    if rows and tx.run(cypher.ENTITY_COUNTS, rows=rows)[0]["n"] < len(rows):
        there = {row["key"] for row in tx.run(cypher.ENTITIES_PRESENT, keys=[row["key"] for row in rows])}
        if new := [row for row in rows if row["key"] not in there and row["key"] in entities]:
            put_entities(tx, [entities[row["key"]] for row in new])
            tx.run(cypher.ENTITY_COUNTS, rows=new)


def _settle(tx: Tx, standing: Sequence[Row], listings: Sequence[Listing]) -> None:
    """What follows from the change: groups of the same product, pictures that show nothing."""
    groups: dict[str, list[str]] = {row["identity"]: [] for row in standing if row["identity"]}
    for product in (listing.product for listing in listings):
        if product.identity:
            groups.setdefault(product.identity, []).append(product.id)
    sizes = [{"identity": identity, "n": len(groups[identity])} for identity in sorted(groups)]
    # These listings are joined to nothing: a group that is all here needs no look at the edges that others have.
    wider = {row["identity"] for row in tx.run(cypher.SAME_WIDER, rows=sizes)} if sizes else set()
    joined = [{"id": id, "least": min(ids)} for key, ids in groups.items() if key not in wider for id in ids]
    if wrong := tx.run(cypher.SAME_WRONG, identities=sorted(wider)) if wider else []:
        tx.run(cypher.SAME_MOVED, rows=[row for row in wrong if row["hub"]])
    if apart := [row for row in (*joined, *wrong) if row["id"] != row["least"]]:
        tx.run(cypher.SAME, rows=apart)
    if images := sorted({image for row in standing for image in row["images"]}):
        tx.run(cypher.IMAGES_PRUNE, ids=images)


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


def _row(listing: Listing) -> Row:
    product = listing.product
    values = {
        "title": product.title,
        "price": product.price,
        "content_hash": listing.content,
        "source_hash": listing.source,
    }
    # An empty word is absent: no index holds all that have none under one key.
    values |= {
        name: getattr(product, name) or None for name in ("description", "url", "seller", "currency", "identity")
    }
    own = {entity.type: key for key, entity in reversed(listing.entities.items()) if entity.type in LABELS}
    return {
        "id": product.id,
        "values": values,
        "updated_at": product.updated_at.isoformat() if product.updated_at else None,
        "brand": own.get("brand"),
        "category": own.get("category"),
        "attributes": [key for key in listing.entities if key not in own.values()],
        "text": f"{product.id}#txt" if product.title else None,
    }


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
