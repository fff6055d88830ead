"""Do graph and vectors agree? Both ways, in flat memory, while others write; and what differs can be mended.

| fault | what it is | what repairing it does |
|---|---|---|
| `missing` | an instance has no vector | its product takes a new revision, so that it is embedded again |
| `stale` | a vector is of other content than the product's | the same |
| `orphan` | a vector of an instance or a product that is not there | it is deleted |
| `no_collection` | a generation's collection is gone | it is made anew, and filled from the first change |
| `wrong_encoder` | a collection of another dimension; a checkpoint of another fingerprint | none: say which is right |
| `no_generation` | a collection of no generation, or of a retired one | it is dropped |
| `left_over` | a generation half-built, and no job that could go on with it | it is retired |
| `alias` | no alias, or one that points at nothing known | it points at what the graph says is live, if it can |
| `unsettled` | the graph says that another is live than the alias | the graph follows the alias |

What a generation's cursor has not reached yet is no fault: it is counted as `behind`. Pictures that could not be read
need no vector, and are no fault either: they are counted as `unreadable`, and a repair lets every generation try again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from kg.audit_contents import look_at_products, look_at_rows
from kg.audit_pointers import look_at_alias, look_at_collections
from kg.faults import Fault, FaultKind, Progress, Report
from kg.graph.cypher import audit as cypher
from kg.stores import Stores
from kg.vectors import generations

__all__ = ["AuditNote", "Fault", "FaultKind", "Report", "audit", "latest"]


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
    look_at_alias(stores, report, repair)
    look_at_collections(stores, report, repair)
    there = set(stores.vectors.collections())
    kept = [one for one in generations.listing(stores) if one.state != "retired"]
    whole = [one for one in kept if set(one.collections(stores.vectors.prefix).values()) <= there]
    look_at_products(stores, whole, report, repair, say)
    look_at_rows(stores, whole, report, repair, say)
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
