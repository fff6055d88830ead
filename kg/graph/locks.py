"""Locks in the graph: of all processes on all machines that use it one holds a name; a holder that died loses it."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kg.errors import JobError, StoreDown
from kg.graph.cypher.core import LOCK, LOCK_FREE, LOCK_TAKE
from kg.graph.driver import Graph
from kg.processes import alive, started_at

__all__ = ["LEASE_S", "Held", "held"]

LEASE_S = 60.0  # without a sign of life for so long the holder is taken for dead
POLL_S = 0.1


@dataclass
class Held:
    """A lock that this process has.

    Attributes:
        holder: host, pid and start time of the process, and a mark of this very call.
        lost: another took it, because this process gave no sign of life in time.
    """

    name: str
    holder: str
    lost: bool = False

    def check(self) -> None:
        """Before each step of what the lock protects.

        Raises:
            JobError: the lock is lost.
        """
        if self.lost:
            raise JobError(f"the lock {self.name!r} was lost: another process has taken it", hint="try again")


@contextmanager
def held(
    graph: Graph, name: str, *, wait_s: float = 30, lease_s: float = LEASE_S, poll_s: float = POLL_S
) -> Iterator[Held]:
    """Hold the lock for the time of a `with` block. Times are the graph server's own: hosts need not agree on theirs.

    Args:
        graph: where it is written down, on the `Counter` of that name.
        name: of the lock.
        wait_s: longest wait for another holder.
        lease_s: how long it stays with a holder that gives no sign of life; one gives signs four times as often. A
            holder that ran on this machine and is gone loses it at once.
        poll_s: how often it is tried meanwhile.

    Raises:
        JobError: another process held it for `wait_s`; the message names the process.
        StoreDown: the graph does not answer.
    """
    mine = Held(name, f"{socket.gethostname()} {os.getpid()} {started_at(os.getpid())} {uuid.uuid4().hex[:8]}")
    end = time.monotonic() + wait_s
    while not _take(graph, mine, lease_s, dead=_dead(graph, name)):
        if time.monotonic() > end:
            raise JobError(
                f"the lock {name!r} is held by process {_holder(graph, name) or 'of another'} for {wait_s:g} s",
                hint=f"wait for it; a holder that died loses it after {lease_s:g} s",
            )
        time.sleep(poll_s)
    over = threading.Event()

    def keep() -> None:
        while not over.wait(lease_s / 4):
            try:
                mine.lost = mine.lost or not _take(graph, mine, lease_s, keep=True)
            except StoreDown:
                continue  # what the lock protects meets the same store

    thread = threading.Thread(target=keep, name=f"lock-{name}", daemon=True)
    thread.start()
    try:
        yield mine
    finally:
        over.set()
        thread.join()
        graph.write(LOCK_FREE, name=name, holder=mine.holder)


def _take(graph: Graph, mine: Held, lease_s: float, *, dead: str = "", keep: bool = False) -> bool:
    values = {"holder": mine.holder, "dead": dead, "lease": int(lease_s * 1000), "keep": keep}
    return bool(graph.write(LOCK_TAKE, name=mine.name, **values))


def _holder(graph: Graph, name: str) -> str:
    rows = graph.read(LOCK, name=name)
    return str(rows[0]["holder"] or "") if rows else ""


def _dead(graph: Graph, name: str) -> str:
    """The holder, if it ran on this machine and is gone; else nothing."""
    holder = _holder(graph, name)
    host, _, rest = holder.partition(" ")
    pid, _, started = rest.partition(" ")
    if host != socket.gethostname() or not pid:
        return ""
    return "" if alive(int(pid), started.split()[0]) else holder
