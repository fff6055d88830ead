"""Do graph and vectors agree? Both ways, in flat memory, while others write; and what differs can be mended.

| fault | what it is | what repairing it does |
|---|---|---|
| `missing` | an instance has no vector | its product takes a new revision, so that it is embedded again |
| `stale` | a vector is of other content than the product's | the same |
| `orphan` | a vector of an instance or a product that is not there | it is deleted |
| `no_collection` | a generation's collection is gone | it is made anew, and filled from the first change |
| `wrong_encoder` | a collection of another dimension; a checkpoint of another fingerprint | none: say which is right |
| `no_generation` | a collection of no generation, or of a retired one | it is dropped |
| `left_over` | a generation half-built, and no job for it | it is retired |
| `alias` | no alias, or one that points at nothing known | it points at what the graph says is live, if it can |
| `unsettled` | the graph says that another is live than the alias | the graph follows the alias |

What a generation's cursor has not reached yet is no fault: it is counted as `behind`. Pictures that could not be read
have no vectors, and are no fault either: they are counted as `unreadable`.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from kg.errors import SkugraphError
from kg.graph.cypher import audit as cypher
from kg.graph.cypher.catalogue import REVISION_TAKE
from kg.graph.cypher.feed import REVISION
from kg.graph.cypher.generations import GENERATION_JOBS
from kg.graph.driver import Tx
from kg.regions import split_region
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.generations import Generation
from kg.vectors.schema import fit
from kg.vectors.states import restart

__all__ = ["AuditNote", "Fault", "FaultKind", "Report", "audit", "latest"]

FaultKind = Literal[
    "missing",
    "stale",
    "orphan",
    "no_collection",
    "wrong_encoder",
    "no_generation",
    "left_over",
    "alias",
    "unsettled",
]
SHOWN = 20  # faults of each kind that the report names
PAGE = 1000  # products, or rows, looked at together
SPARSE = 16  # most revisions of one page for each product wanted: numbers are missing where a product changed again
JOB_STATES = ["queued", "running", "paused", "failed"]  # a failed job can be resumed: what it built is no left-over

Row = Mapping[str, Any]
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    kind: FaultKind
    generation: str
    what: str
    why: str
    repaired: bool = False


@dataclass
class Report:
    """What an audit found.

    Attributes:
        checked: products looked at, and vectors, of all generations.
        behind: generation → changes that it has not embedded yet.
        unreadable: instances without a vector because their picture could not be read.
        faults: how many of each kind.
        repaired: how many of these are mended, or will be when the generations in `refill` have followed.
        first: the first of each kind.
        refill: generations that have something to embed.
    """

    checked: int = 0
    behind: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    first: list[Fault] = field(default_factory=list)
    refill: list[str] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Faults that are not mended."""
        return self.faults.total() - self.repaired.total()

    @property
    def drift(self) -> float:
        """Faults for each thing looked at."""
        return self.faults.total() / self.checked if self.checked else float(bool(self.faults))

    def add(self, fault: Fault) -> None:
        self.faults[fault.kind] += 1
        self.repaired[fault.kind] += fault.repaired
        if self.faults[fault.kind] <= SHOWN:
            self.first.append(fault)

    def json(self) -> dict[str, Any]:
        return {
            "ok": not self.open,
            "checked": self.checked,
            "drift": self.drift,
            "behind": self.behind,
            "unreadable": self.unreadable,
            "faults": {kind: self.faults[kind] for kind in get_args(FaultKind)},
            "repaired": {kind: self.repaired[kind] for kind in get_args(FaultKind)},
            "first": [vars(fault) for fault in self.first],
            "refill": self.refill,
        }


@dataclass(frozen=True)
class AuditNote:
    """What the graph keeps of the latest audit; `at` in epoch seconds."""

    at: float
    checked: int
    drift: float
    behind: int
    faults: dict[str, int]
    repaired: dict[str, int]


def audit(stores: Stores, *, repair: bool = False, on_progress: Progress | None = None) -> Report:
    """Look at everything, and mend what can be mended if that is wanted. Twice in a row, the second finds nothing new.

    Args:
        stores: both.
        repair: see the table above. Nothing that is live or could be rolled back to is dropped.
        on_progress: called with what is looked at, how many of how many (None where that is not known).

    Raises:
        StoreDown: a store does not answer; what was mended so far stays so.
    """
    report, say = Report(), on_progress or (lambda what, done, total: None)
    _alias(stores, report, repair)
    _collections(stores, report, repair)
    there = set(stores.vectors.collections())
    kept = [one for one in generations.listing(stores) if one.state != "retired"]
    whole = [one for one in kept if set(one.collections(stores.vectors.prefix).values()) <= there]
    _products(stores, whole, report, repair, say)
    _rows(stores, whole, report, repair, say)
    for generation in kept:
        report.behind[generation.id] = generations.stale(stores, generations.get(stores, generation.id))
    if repair:
        live_first = sorted(whole, key=lambda one: one.state != "live")
        report.refill = [one.id for one in live_first if one.state != "building" and report.behind[one.id]]
        report.refill += [name for name in _refilled(report) if name not in report.refill]
    _note(stores, report)
    return report


def latest(stores: Stores) -> AuditNote | None:
    """What the latest audit found, None before the first."""
    rows = stores.graph.read(cypher.AUDIT_LATEST)
    if not rows:
        return None
    values = rows[0]["a"]
    counts = {name: json.loads(values[name]) for name in ("faults", "repaired")}
    return AuditNote(values["at"], values["checked"], values["drift"], values["behind"], **counts)


def _note(stores: Stores, report: Report) -> None:
    found = report.json()
    values: dict[str, Any] = {name: json.dumps(found[name]) for name in ("faults", "repaired")}
    values |= {"at": time.time(), "checked": report.checked, "drift": report.drift}
    stores.graph.write(cypher.AUDIT_NOTE, values=values | {"behind": sum(report.behind.values())})


def _refilled(report: Report) -> list[str]:
    return sorted({fault.generation for fault in report.first if fault.kind == "no_collection" and fault.repaired})


# what points at what


def _alias(stores: Stores, report: Report, repair: bool) -> None:
    target = stores.vectors.alias_target(generations.alias(stores.vectors.prefix))
    there, noted = set(stores.vectors.collections()), generations.noted(stores)
    known = {name: one for one in noted for name in one.collections(stores.vectors.prefix).values()}
    live = next((one for one in noted if one.state == "live"), None)
    if target is None and live is None:
        return  # nothing is live yet
    if target is None or target not in there or target not in known:
        points = f"points at {target}, which is not known" if target else "is not there"
        mended = repair and live is not None and switching.restore(stores, live.id)
        report.add(Fault("alias", live.id if live else "", f"alias {points}", _says(live), mended))
    elif live is None or live.id != known[target].id:
        mended = repair and switching.settle(stores)
        report.add(Fault("unsettled", known[target].id, f"alias points at {target}", _says(live), mended))


def _says(live: Generation | None) -> str:
    return f"the graph says that {live.id if live else 'none'} is live"


def _collections(stores: Stores, report: Report, repair: bool) -> None:
    prefix = stores.vectors.prefix
    there, listed = set(stores.vectors.collections()), generations.listing(stores)
    for one in listed:
        if one.state == "retired":
            continue
        if one.state == "building" and not stores.graph.read(GENERATION_JOBS, id=one.id, states=JOB_STATES):
            mended = repair and _done(partial(switching.retire, stores, one.id, by="audit", reason="left over"))
            report.add(Fault("left_over", one.id, f"generation {one.id} is half-built", "no job builds it", mended))
            continue
        for name in one.collections(prefix).values():
            if name not in there:
                mended = repair and _remade(stores, one)
                report.add(Fault("no_collection", one.id, f"collection {name}", "it is gone", mended))
            elif (dim := stores.vectors.dim(name)) != one.dim:
                why = f"it holds {dim} dimensions, the encoder {one.encoder} gives {one.dim}"
                report.add(Fault("wrong_encoder", one.id, f"collection {name}", why))
        if (found := _fingerprint(one)) not in ("", one.fingerprint):
            why = f"it has fingerprint {found}, the vectors were made with {one.fingerprint}"
            report.add(Fault("wrong_encoder", one.id, f"checkpoint {one.encoder_path}", why))
    wanted = {name for one in generations.listing(stores) if one.state != "retired" for name in _names(one, prefix)}
    ours = re.compile(rf"{re.escape(prefix)}_g[0-9a-f]{{10}}_(image|text|fused)")
    for name in stores.vectors.collections():
        if ours.fullmatch(name) and name not in wanted:
            mended = repair and _done(partial(stores.vectors.drop, name))
            report.add(Fault("no_generation", "", f"collection {name}", "no generation that is kept has it", mended))


def _names(generation: Generation, prefix: str) -> list[str]:
    return list(generation.collections(prefix).values())


def _fingerprint(generation: Generation) -> str:
    """What the checkpoint says of itself; nothing where it is gone, or does not say."""
    try:
        return (Path(generation.encoder_path) / "fingerprint").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _done(work: Callable[[], object]) -> bool:
    """Whether it could be done; a guard may be in the way."""
    try:
        work()
    except SkugraphError:
        return False
    return True


def _remade(stores: Stores, generation: Generation) -> bool:
    """Its collections made where they are missing, to be filled from the first change."""
    for name in _names(generation, stores.vectors.prefix):
        stores.vectors.create(name, generation.dim)
    if generation.state == "shadow":
        restart(stores.graph, generation.id, "shadow")
    else:
        stores.graph.write(cypher.AUDIT_REFILL, id=generation.id)
    return True


# from the graph to the vectors


def _products(stores: Stores, kept: Sequence[Generation], report: Report, repair: bool, say: Progress) -> None:
    """Every product against its rows in every generation. A product that changes meanwhile takes a revision beyond the
    last one here: it is met by nobody, and is no fault."""
    last = int(stores.graph.read(REVISION)[0]["revision"])
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
        if repair:
            _touch(stores, sorted(broken))
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
            stores.vectors.delete_rows(collection, orphans)
    return broken


NO_VECTOR, NO_INSTANCE = "it has no vector", "the graph has no such instance"


def _differences(
    stores: Stores, one: Generation, kind: str, collection: str, products: Sequence[Row]
) -> list[tuple[str, str, str]]:
    """Instance, product and what is wrong with it."""
    found: dict[str, dict[str, Row]] = {row["id"]: {} for row in products}
    for stored in stores.vectors.rows(collection, found, ("content_hash", "revision")):
        found[stored["product_id"]][stored["instance_id"]] = stored
    faults = []
    for product in products:
        rows, wanted = found[product["id"]], _expected(kind, product)
        faults += [(name, product["id"], NO_VECTOR) for name in sorted(wanted - set(rows))]
        for name, row in sorted(rows.items()):
            if row["revision"] > product["revision"]:
                continue  # it was embedded again since it was read
            if (split_region(name)[0] if one.regions else name) not in wanted:
                faults.append((name, product["id"], NO_INSTANCE))
            elif row["content_hash"] != fit("content_hash", product["content_hash"] or ""):
                faults.append((name, product["id"], "it is of other content than the product has"))
            elif row["revision"] < product["revision"]:
                faults.append((name, product["id"], f"it is of revision {row['revision']}, not {product['revision']}"))
    return faults


def _expected(kind: str, product: Row) -> set[str]:
    """Instances of the product that have a vector of this kind, as `workers.embedding` makes them."""
    known = sorted((row for row in product["instances"] if row["id"]), key=lambda row: row["id"])
    if kind == "text":
        return {row["id"] for row in known if row["kind"] == "text" and product["has_text"]}
    shown = [row for row in known if row["kind"] == "image" and row["uri"]]
    if kind == "fused":
        shown = shown[:1]
    return {row["id"] for row in shown if not row["rejected"]}


def _touch(stores: Stores, products: Sequence[str]) -> None:
    """Let every generation embed these again."""
    for some in _batches(products, stores.settings.batch_rows):

        def work(tx: Tx, some: Sequence[str] = some) -> None:
            before = tx.run(REVISION_TAKE, n=len(some))[0]["before"]
            rows = [{"id": name, "revision": before + n} for n, name in enumerate(some, start=1)]
            tx.run(cypher.AUDIT_TOUCH, rows=rows)

        stores.graph.transaction(work)


# from the vectors to the graph


def _rows(stores: Stores, kept: Sequence[Generation], report: Report, repair: bool, say: Progress) -> None:
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
                    stores.vectors.delete_rows(collection, orphans)
                done += len(batch)
                report.checked += len(batch)
                say(collection, done, total)


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
