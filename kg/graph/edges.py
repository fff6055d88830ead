"""SIMILAR_TO edges of one source, brought from what stands in the graph to what was computed."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg.graph.cypher import similarity as cypher
from kg.graph.driver import Graph, Tx

__all__ = ["SOURCES", "Edges", "Settled", "counts", "settle", "touch"]

SOURCES = ("text", "cooccurrence", "visual")
DIGITS = 6  # of a weight


@dataclass(frozen=True)
class Edges:
    """What was computed for one source.

    Attributes:
        source: one of SOURCES.
        keys: of entities, sorted.
        ends: (a, b) numbers of keys, a < b, by a, then b.
        weights: of the pairs.
        generation: names the computation; edges that change carry it.
    """

    source: str
    keys: Sequence[str]
    ends: tuple[NDArray[np.int64], NDArray[np.int64]]
    weights: NDArray[np.float32]
    generation: str


@dataclass(frozen=True)
class Settled:
    """What was done.

    Attributes:
        written: edges made or changed.
        removed: edges taken out.
        left: changes that there was no time for.
    """

    written: int
    removed: int
    left: int


def settle(graph: Graph, edges: Edges, *, batch: int = 1000, until: float = float("inf")) -> Settled:
    """Write and remove what differs, in transactions of `batch` edges; edges that are right already stay untouched.

    Killed anywhere and run again, the same graph comes out. An edge of which an end is gone meanwhile is left out.

    Args:
        graph: that is read and written.
        edges: of one source; edges of other sources are not touched.
        batch: edges in one transaction.
        until: time.monotonic() after which no other transaction begins; there is always one.
    """
    changes = _differences(graph, edges)
    done = {"put": 0, "remove": 0}
    for start in range(0, len(changes), batch):
        if start and time.monotonic() >= until:
            return Settled(done["put"], done["remove"], len(changes) - start)
        rows = changes.rows(edges, start, start + batch)

        def work(tx: Tx, rows: dict[str, list[dict[str, Any]]] = rows) -> int:
            number = tx.run(cypher.EDGES_TAKE)[0]["number"]
            if rows["remove"]:
                tx.run(cypher.EDGES_REMOVE, rows=rows["remove"], source=edges.source, number=number)
            if not rows["put"]:
                return 0
            values = {"source": edges.source, "generation": edges.generation, "number": number}
            return len(tx.run(cypher.EDGES_PUT, rows=rows["put"], **values))

        done["put"] += graph.transaction(work)
        done["remove"] += len(rows["remove"])
    return Settled(done["put"], done["remove"], 0)


def counts(graph: Graph) -> dict[str, int]:
    """How many edges each source has, every one of SOURCES named."""
    found = {row["source"]: row["edges"] for row in graph.read(cypher.EDGES_COUNT)}
    return {source: int(found.get(source, 0)) for source in SOURCES}


def touch(tx: Tx, keys: Sequence[str]) -> None:
    """Note at these entities that an edge of theirs goes, in the transaction in which it does."""
    if keys:
        number = tx.run(cypher.EDGES_TAKE)[0]["number"]
        tx.run(cypher.EDGES_TOUCH, keys=sorted(keys), number=number)


@dataclass(frozen=True)
class _Changes:
    """What is to be done, first what goes: numbers, of which only the rows of one transaction are made at a time.

    Attributes:
        strangers: (a, b) keys of edges to remove of which the computation does not know an end.
        wrong: (a, b) as a * size + b of the other edges to remove, sorted.
        missing: places of the edges to put.
        size: of the numbering.
    """

    strangers: list[tuple[str, str]]
    wrong: NDArray[np.int64]
    missing: NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.strangers) + len(self.wrong) + len(self.missing)

    def rows(self, edges: Edges, start: int, end: int) -> dict[str, list[dict[str, Any]]]:
        """Those from `start` on and before `end`: to remove, and to put."""
        known, new = len(self.strangers), len(self.strangers) + len(self.wrong)
        remove = [{"a": a, "b": b} for a, b in self.strangers[start:end]]
        for code in self.wrong[max(start - known, 0) : max(end - known, 0)].tolist():
            remove.append({"a": edges.keys[code // self.size], "b": edges.keys[code % self.size]})
        put = [
            {"a": edges.keys[edges.ends[0][i]], "b": edges.keys[edges.ends[1][i]], "weight": _weight(edges.weights[i])}
            for i in self.missing[max(start - new, 0) : max(end - new, 0)]
        ]
        return {"remove": remove, "put": put}


def _differences(graph: Graph, edges: Edges) -> _Changes:
    """By the edges in the graph, which are read as a stream: a few bytes are kept of each."""
    number = {key: place for place, key in enumerate(edges.keys)}
    size = max(len(edges.keys), 1)
    wanted = edges.ends[0] * size + edges.ends[1]  # sorted
    right, standing = np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.bool_)
    strangers: list[tuple[str, str]] = []
    wrong = array("q")
    for row in graph.stream(cypher.EDGES_OF, source=edges.source):
        a, b = number.get(row["a"]), number.get(row["b"])
        if a is None or b is None:
            strangers.append((row["a"], row["b"]))
            continue
        place = _place(wanted, a * size + b)
        if place is None or standing[place]:  # not wanted, or there twice: then it is removed and made again
            wrong.append(a * size + b)
            if place is not None:
                right[place] = False
        else:
            standing[place] = True
            right[place] = row["weight"] == _weight(edges.weights[place])
    return _Changes(sorted(strangers), np.sort(np.frombuffer(wrong, np.int64)), np.flatnonzero(~right), size)


def _place(wanted: NDArray[np.int64], code: int) -> int | None:
    place = int(np.searchsorted(wanted, code))
    return place if place < len(wanted) and wanted[place] == code else None


def _weight(weight: np.float32) -> float:
    return round(float(weight), DIGITS)
