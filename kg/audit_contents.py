"""The part of the audit (`kg.audit`) that compares products and rows: from the graph to the vectors, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from kg import feed
from kg.faults import Fault, FaultKind, Progress, Report
from kg.graph.cypher import audit as cypher
from kg.regions import split_region
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation
from kg.vectors.schema import fit

__all__ = ["look_at_products", "look_at_rows"]

PAGE = 1000  # products, or rows, looked at together
SPARSE = 16  # most revisions of one page for each product wanted: numbers are missing where a product changed again
NO_VECTOR, NO_INSTANCE = "it has no vector", "the graph has no such instance"

Row = Mapping[str, Any]


def look_at_products(stores: Stores, kept: Sequence[Generation], report: Report, repair: bool, say: Progress) -> None:
    """Every product against its rows in every generation. A product that changes meanwhile takes a revision beyond the
    last one here: it is met by nobody, and is no fault."""
    last = feed.revision(stores.graph)
    after, span = 0, PAGE
    while after < last and kept:
        until = min(after + span, last)
        cursors = {one.id: one.cursor for one in generations.noted(stores)}  # before the products: what they lack then
        page = stores.graph.read(cypher.AUDIT_PRODUCTS, after=after, until=until)
        after, span = until, min(2 * span, SPARSE * PAGE) if len(page) < PAGE // 4 else PAGE
        broken: set[str] = set()
        for products in _batches(page, PAGE):
            report.checked += len(products)
            report.unreadable += sum(bool(i["rejected"]) for row in products for i in row["instances"])
            for one in kept:
                reached = [row for row in products if row["revision"] <= cursors.get(one.id, 0)]
                broken |= _compare(stores, one, reached, report, repair)
                # What could not be read is no fault, but it is tried again.
                broken |= {row["id"] for row in reached if any(i["rejected"] for i in row["instances"])}
        if repair:
            feed.touch(stores.graph, sorted(broken), batch=stores.settings.batch_rows)
        say("products", after, last)


def _compare(stores: Stores, one: Generation, products: Sequence[Row], report: Report, repair: bool) -> set[str]:
    """Products that must be embedded again."""
    broken: set[str] = set()
    for kind, collection in one.collections(stores.vectors.prefix).items():
        faults = _differences(stores, one, kind, collection, products)
        if not faults:
            continue
        # A product that was changed or removed since it was read is looked at again: what then still differs does.
        again = stores.graph.read(cypher.AUDIT_AGAIN, ids=sorted({product for _, product, _ in faults}))
        was = {row["id"]: row["revision"] for row in products}
        same = [row for row in again if row["revision"] == was[row["id"]]]
        orphans: list[str] = []
        for name, product, why in _differences(stores, one, kind, collection, same):
            fault: FaultKind = "missing" if why == NO_VECTOR else "orphan" if why == NO_INSTANCE else "stale"
            report.add(Fault(fault, one.id, name, why, repair))
            if fault == "orphan":
                orphans.append(name)
            else:
                broken.add(product)
        if repair and orphans:
            _delete(stores, one, collection, orphans)
    return broken


def _differences(
    stores: Stores, one: Generation, kind: str, collection: str, products: Sequence[Row]
) -> list[tuple[str, str, str]]:
    """Instance, product and what is wrong with it."""
    found: dict[str, dict[str, Row]] = {row["id"]: {} for row in products}
    for stored in stores.vectors.rows(collection, found, ("content_hash", "revision")):
        found[stored["product_id"]][stored["instance_id"]] = stored
    faults = []
    for product in products:
        rows, known = found[product["id"]], _expected(kind, product)
        wanted = {name for name, readable in known.items() if readable}
        faults += [(name, product["id"], NO_VECTOR) for name in sorted(wanted - set(rows))]
        for name, row in sorted(rows.items()):
            if row["revision"] > product["revision"]:
                continue  # it was embedded again since it was read
            if (split_region(name)[0] if one.regions else name) not in known:
                faults.append((name, product["id"], NO_INSTANCE))
            elif row["content_hash"] != fit("content_hash", product["content_hash"] or ""):
                faults.append((name, product["id"], "it is of other content than the product has"))
            elif row["revision"] < product["revision"]:
                faults.append((name, product["id"], f"it is of revision {row['revision']}, not {product['revision']}"))
    return faults


def _expected(kind: str, product: Row) -> dict[str, bool]:
    """Instances of the product that have a vector of this kind, as `workers.embedding` makes them, and whether it must
    be there: of a picture that some generation could not read, others may well have one."""
    known = sorted((row for row in product["instances"] if row["id"]), key=lambda row: row["id"])
    if kind == "text":
        return {row["id"]: True for row in known if row["kind"] == "text" and product["has_text"]}
    shown = [row for row in known if row["kind"] == "image" and row["uri"]]
    if kind == "fused":
        shown = shown[:1]
    return {row["id"]: not row["rejected"] for row in shown}


def look_at_rows(stores: Stores, kept: Sequence[Generation], report: Report, repair: bool, say: Progress) -> None:
    """Every row of every collection: is its product still there?"""
    for one in kept:
        for collection in one.collections(stores.vectors.prefix).values():
            total = stores.vectors.count(collection)
            done = 0
            for batch in stores.vectors.scan(collection, ("instance_id", "product_id"), batch=PAGE):
                cursor = generations.get(stores, one.id).cursor
                gone = _gone(stores, {row["product_id"] for row in batch}, cursor)
                orphans = sorted(row["instance_id"] for row in batch if row["product_id"] in gone)
                if orphans and gone:  # the worker may have deleted them since
                    left = {row["instance_id"] for row in stores.vectors.rows(collection, gone, ())}
                    orphans = [name for name in orphans if name in left]
                for name in orphans:
                    report.add(Fault("orphan", one.id, name, "the graph has no such product", repair))
                if repair and orphans:
                    _delete(stores, one, collection, orphans)
                done += len(batch)
                report.checked += len(batch)
                say(collection, done, total)


def _delete(stores: Stores, one: Generation, collection: str, names: Sequence[str]) -> None:
    """Noted before and after: who keeps a copy of these rows must not take what it read meanwhile for whole."""
    stores.graph.write(cypher.AUDIT_EDITED, id=one.id)
    stores.vectors.delete_rows(collection, names)
    stores.graph.write(cypher.AUDIT_EDITED, id=one.id)


def _gone(stores: Stores, products: set[str], cursor: int) -> set[str]:
    """Those that are not in the graph, and whose removal the generation has had to learn."""
    ids = sorted(products)
    absent = products - {row["id"] for row in stores.graph.read(cypher.AUDIT_PRESENT, ids=ids)}
    if not absent:
        return set()
    return absent - {row["id"] for row in stores.graph.read(cypher.AUDIT_REMOVED, ids=sorted(absent), cursor=cursor)}


def _batches(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch
