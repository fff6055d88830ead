"""The audit trail: who changed which generation is searched, when, why, and on what figures."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from kg.graph.cypher.generations import EVENT_ADD, EVENTS
from kg.graph.driver import Tx
from kg.stores import Stores

__all__ = ["Action", "Event", "events", "note"]

Action = Literal["promote", "rollback", "retire", "repair"]


@dataclass(frozen=True)
class Event:
    """One entry. It is never changed.

    Attributes:
        generation: that it was done to.
        other: the one that was live before a promotion, rollback or repair.
        by: user and host, or the name of an API key.
        forced: a gate, or the guard of the way back, was overruled.
        figures: what the evaluation had found, as far as it was looked at.
    """

    action: Action
    generation: str
    other: str = ""
    by: str = ""
    reason: str = ""
    forced: bool = False
    figures: dict[str, Any] = field(default_factory=dict)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def json(self) -> dict[str, Any]:
        return asdict(self)


def note(tx: Tx, event: Event) -> None:
    """Write it down together with what it tells of."""
    values = event.json()
    name, figures = values.pop("id"), values.pop("figures")
    tx.run(EVENT_ADD, id=name, values=values | {"figures": json.dumps(figures, ensure_ascii=False)})


def events(stores: Stores, generation: str = "", *, limit: int = 100) -> list[Event]:
    """The latest entries, of one generation or of all, newest first."""
    rows = stores.graph.read(EVENTS, generation=generation, limit=limit)
    return [Event(**row["e"] | {"figures": json.loads(row["e"].get("figures") or "{}")}) for row in rows]
