"""The states of a generation, and how it may go from one to the other.

    building → shadow ⇄ live
       ↑ ↘      ↓ ↑
       └── retired

Every change is a compare-and-set in the graph: of two who try only one succeeds. Which generation is live is what the
alias in the vector store says; the graph follows it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

from kg.errors import JobError
from kg.graph.cypher.generations import GENERATION_RESTART, GENERATION_STATE
from kg.graph.driver import Graph, Tx

__all__ = ["TRANSITIONS", "State", "check", "move", "restart"]

State = Literal["building", "shadow", "live", "retired"]

# From, to → when.
TRANSITIONS: Mapping[tuple[State, State], str] = {
    ("building", "shadow"): "its first back-fill is complete",
    ("building", "retired"): "it was given up",
    ("shadow", "live"): "it was promoted, or rolled back to: the alias was flipped to it",
    ("live", "shadow"): "another was promoted, or rolled back to",
    ("shadow", "retired"): "it was retired: its collections are dropped",
    ("retired", "building"): "its encoder is wanted again: it begins anew",
    ("shadow", "building"): "its collections were lost: it begins anew",
}


def check(generation: str, before: State, after: State) -> None:
    """Raises:
    JobError: the table has no way from `before` to `after`.
    """
    if (before, after) not in TRANSITIONS:
        ways = ", ".join(to for frm, to in TRANSITIONS if frm == before)
        raise JobError(f"generation {generation} is {before}: from there it can become {ways}, not {after}")


def move(graph: Graph | Tx, generation: str, before: State, after: State) -> bool:
    """Change the state if it is `before`; whether it was.

    Raises:
        JobError: as `check`.
    """
    check(generation, before, after)
    values = {"id": generation, "before": before, "after": after, "now": time.time()}
    rows = graph.run(GENERATION_STATE, **values) if isinstance(graph, Tx) else graph.write(GENERATION_STATE, **values)
    return bool(rows)


def restart(graph: Graph, generation: str, before: State) -> bool:
    """Let it be built anew from the first change of the catalogue, if its state is `before`; whether it was.

    Raises:
        JobError: as `check`.
    """
    check(generation, before, "building")
    return bool(graph.write(GENERATION_RESTART, id=generation, before=before, now=time.time()))
