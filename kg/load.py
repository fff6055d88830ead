"""How fast searches are answered: each API process says so now and then, and workers look before they take more."""

from __future__ import annotations

from kg.graph.cypher.load import LOAD_FORGET, LOAD_NOTE, LOAD_SLOWEST
from kg.graph.driver import Graph

__all__ = ["FRESH_S", "forget", "report", "slowest"]

FRESH_S = 15.0  # what was said longer ago is not looked at


def report(graph: Graph, process: str, p95_ms: float) -> None:
    """Say how long all but the slowest twentieth of this process's latest searches took."""
    graph.write(LOAD_NOTE, id=process, p95_ms=p95_ms)


def slowest(graph: Graph) -> float:
    """The greatest of what the API processes said lately, in ms; 0 where none said anything."""
    return float(graph.read(LOAD_SLOWEST, fresh=int(FRESH_S * 1000))[0]["p95_ms"])


def forget(graph: Graph, process: str) -> None:
    """This process ends; and so have those that said nothing for long."""
    graph.write(LOAD_FORGET, id=process, old=int(FRESH_S * 1000))
