"""The change feed: what changed in the graph after a revision, as whole products or as removals, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

from kg.graph.cypher.catalogue import REVISION_TAKE
from kg.graph.cypher.feed import (
    FEED_CHANGED,
    FEED_GONE,
    FEED_PRODUCTS,
    FEED_REMOVED,
    FEED_STALE,
    FEED_TOUCH,
    FEED_TOUCH_GONE,
    REVISION,
)
from kg.graph.driver import Graph, Tx
from kg.records import Box, caption

__all__ = ["Change", "Instance", "Stated", "changed", "changes", "revision", "stale", "stated", "touch"]

Stated = tuple[tuple[str, str], ...]  # (type, value) of entities that fields name, as their keys have them

WINDOW = 4  # revisions looked at for each change wanted; numbers are missing where a product changed again


@dataclass(frozen=True)
class Instance:
    """One occurrence of a product: in a picture (`uri`, and `box` in pixels or None for all of it), or in its text.
    `rejected`: the picture could not be read when it was last tried."""

    id: str
    kind: str
    uri: str | None = None
    box: Box | None = None
    rejected: bool = False


@dataclass(frozen=True)
class Change:
    """A product as it is now, or, `removed`, only its id."""

    id: str
    revision: int
    removed: bool = False
    text: str = ""
    stated: Stated = ()
    fields: dict[str, Any] = field(default_factory=dict)  # those of kg.vectors.schema that tell of the product
    instances: tuple[Instance, ...] = ()  # by id


def revision(graph: Graph) -> int:
    """Number of the catalogue's latest change, 0 before the first."""
    return int(graph.read(REVISION)[0]["revision"])


def changes(graph: Graph, after: int, limit: int) -> list[Change]:
    """The first changes with a revision above `after`, in order, at most `limit`; empty when there are none."""
    last, span = revision(graph), WINDOW * limit
    while True:
        # Without an upper end near by, an engine may sort everything that is left before it takes the first few.
        until = min(after + span, last)
        found, known = _within(graph, after, until, limit)
        if known < until and not found:
            continue  # all that was read has changed again since, and is beyond `last` by now: what comes next?
        if known < until or until == last or len(found) >= limit:
            return found[:limit]
        span *= WINDOW


def _within(graph: Graph, after: int, until: int, limit: int) -> tuple[list[Change], int]:
    """Changes within (after, until] in order, and the revision up to which these are all; less than `until` where there
    are more than `limit`."""
    window = {"after": after, "until": until, "limit": limit}
    products, products_to = _settled(graph.read(FEED_PRODUCTS, **window), after, until, limit)
    removed, removed_to = _settled(graph.read(FEED_REMOVED, **window), after, until, limit)
    known = min(products_to, removed_to)
    found = [_product(row) for row in products if row["revision"] <= known]
    found += [Change(row["id"], row["revision"], removed=True) for row in removed if row["revision"] <= known]
    return sorted(found, key=attrgetter("revision")), known


def _settled(rows: list[dict[str, Any]], after: int, until: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Rows that are of the window, and the revision up to which these are all. On Neo4j another transaction may remove
    or change what was found before it is named: it then has no id, or a number beyond the window, under which it comes
    again. But it has taken one of the `limit` places."""
    sure = [row for row in rows if row["id"] is not None and row["revision"] <= until]
    if len(rows) < limit:
        return sure, until
    return sure, max((row["revision"] for row in sure), default=after)


def changed(graph: Graph, after: int, limit: int) -> dict[str, int]:
    """Id → latest revision of what changed or was removed after a revision: all, or else at least `limit`."""
    found: dict[str, int] = {}
    for statement in (FEED_GONE, FEED_CHANGED):
        for row in graph.read(statement, after=after, limit=limit):
            found[row["id"]] = max(row["revision"], found.get(row["id"], 0))
    return found


def stale(graph: Graph, after: int) -> int:
    """How many changes have a revision above `after`."""
    return int(graph.read(FEED_STALE, after=after)[0]["stale"])


def touch(graph: Graph, products: Sequence[str], *, batch: int) -> None:
    """New revisions for products, also for those that were removed: every generation embeds or removes them again. At
    most `batch` of them in one transaction."""

    def work(tx: Tx, some: Sequence[str]) -> None:
        before = tx.run(REVISION_TAKE, n=len(some))[0]["before"]
        rows = [{"id": name, "revision": before + n} for n, name in enumerate(some, start=1)]
        tx.run(FEED_TOUCH, rows=rows)
        tx.run(FEED_TOUCH_GONE, rows=rows)

    for start in range(0, len(products), batch):
        graph.transaction(partial(work, some=products[start : start + batch]))


def stated(row: Mapping[str, Any]) -> Stated:
    """Brand, every level of the category, and the attributes that a field names, in one order; what only the caption
    mentions is not among them.

    Args:
        row: `brand` (key or None), `categories` and `stated` (keys).
    """
    keys = [row["brand"] or "", *sorted(row["categories"]), *sorted(key for key in row["stated"] if key)]
    return tuple((kind, value) for kind, _, value in (key.partition(":") for key in keys) if value)


def _product(row: dict[str, Any]) -> Change:
    price, updated = row["price"], row["updated_at"]
    fields = {
        "product_id": row["id"],
        "brand": row["brand"] or "",
        "categories": sorted(row["categories"]),
        "entities": sorted(row["entities"]),
        "seller": row["seller"] or "",
        "price": -1.0 if price is None else float(price),
        "updated_at": int(updated.to_native().timestamp()) if updated is not None else 0,
        "content_hash": row["content_hash"] or "",
        "revision": row["revision"],
    }
    text = caption(row["title"], row["description"])
    instances = _instances(row["instances"])
    return Change(row["id"], row["revision"], text=text, stated=stated(row), fields=fields, instances=instances)


def _instances(maps: Sequence[dict[str, Any]]) -> tuple[Instance, ...]:
    found = [
        Instance(m["id"], m["kind"], m["uri"], tuple(m["box"]) if m["box"] else None, bool(m["rejected"]))
        for m in maps
        if m["id"]
    ]
    return tuple(sorted(found, key=attrgetter("id")))
