"""What an audit (`kg.audit`) finds: faults, how many of which kind, and the first of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

__all__ = ["Fault", "FaultKind", "Progress", "Report"]

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
        unreadable: instances whose picture some generation could not read when it last tried.
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
