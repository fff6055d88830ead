"""Open both stores: those that the settings name, or the embedded ones of the home folder, started on demand."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from kg.errors import MigrationError, SkugraphError, StoreDown
from kg.graph.driver import Graph, GraphAddress
from kg.graph.embedded import EmbeddedGraph
from kg.home import CLIENTS_LOCK, STORES_RUN, Home, locked
from kg.migrate import migrate, pending
from kg.processes import spawn, tail
from kg.settings import Settings

if TYPE_CHECKING:
    from kg.graph.neighbours import Neighbours
    from kg.statistics import Statistics
    from kg.vectors.client import VectorStore
    from kg.vectors.resident import Resident

__all__ = ["Stores", "open_stores", "prepare_stores", "revive_stores", "running", "stop_stores"]

PACKAGES = str(Path(__file__).parents[1])  # a source tree that is not installed works too
START_S = 180.0  # longest start of both servers
_supervisors: list[subprocess.Popen[bytes]] = []  # those started here: kept, so that their end is noticed


@dataclass(frozen=True)
class Stores:
    """Both stores of one settings table. Threads may share it.

    Attributes:
        vectors_uri: where the vector store answers; `vectors` connects at its first use.
    """

    settings: Settings
    graph: Graph
    vectors_uri: str

    @cached_property
    def vectors(self) -> VectorStore:
        from kg.vectors.client import VectorStore  # pymilvus takes a second to import: only who needs it pays

        settings = self.settings
        return VectorStore(
            self.vectors_uri,
            settings.vectors_token.get_secret_value() if settings.vectors_uri else "",
            prefix=settings.vectors_prefix,
            timeout_s=settings.vectors_timeout_s,
        )

    @cached_property
    def statistics(self) -> Statistics:
        from kg.statistics import Statistics  # it is made of modules that are made of this one

        return Statistics(self.graph)

    @cached_property
    def neighbours(self) -> Neighbours:
        from kg.graph.neighbours import Neighbours  # as above

        return Neighbours(self.graph)

    @cached_property
    def resident(self) -> Resident:
        from kg.vectors.resident import Resident  # as above

        return Resident(self)

    @property
    def home(self) -> Home:
        return Home(self.settings.home)


@contextlib.contextmanager
def open_stores(settings: Settings, *, start: bool = True, checked: bool = True) -> Iterator[Stores]:
    """Both stores, for the time of a `with` block; an embedded graph is migrated when it is opened.

    Args:
        settings: where they are.
        start: start the embedded stores when they do not run.
        checked: refuse a Neo4j server whose schema is not up to date.

    Raises:
        StoreDown: a store does not answer, or runs not and `start` is false.
        MigrationError: the schema of the embedded graph cannot be brought up to date, or that of a server is not.
    """
    home = Home(settings.home).create()
    with contextlib.ExitStack() as stack:
        services: dict[str, Any] = {}
        if settings.graph_uri is None or settings.vectors_uri is None:
            # The lease: waits here while a supervisor is stopping, and keeps one from stopping.
            stack.enter_context(locked(home.run / CLIENTS_LOCK, shared=True))
            services = (running(home) or _start(settings, home) if start else running(home)) or {}
        graph = Graph(
            graph_address(settings, services), timeout_s=settings.graph_timeout_s, batch_rows=settings.batch_rows
        )
        stack.callback(graph.close)
        stores = Stores(settings, graph, settings.vectors_uri or _service(home, services, "vectors")["uri"])
        stack.callback(lambda: stores.vectors.close() if "vectors" in vars(stores) else None)
        stack.callback(lambda: stores.resident.close() if "resident" in vars(stores) else None)
        if settings.graph_uri is None:
            with locked(home.run / "migrate.lock"):
                migrate(graph, vectors=lambda: stores.vectors)
        elif checked and (steps := pending(graph)):  # without constraints, two writers would make every product twice
            raise MigrationError(
                f"the graph at {graph.address} lacks {len(steps)} steps of the schema",
                hint="`skugraph migrate` applies them",
            )
        yield stores


def running(home: Home) -> dict[str, Any] | None:
    """The embedded services by name ("graph", "vectors"): uri, pid, restarts, log; None when no supervisor runs."""
    state = home.read_run(STORES_RUN)
    return None if state is None else state["services"]


def prepare_stores(settings: Settings) -> threading.Thread:
    """Begin to start the embedded stores, for who has other things to do before `open_stores`, which waits for them,
    and which says why where they do not start."""

    def work() -> None:
        home = Home(settings.home)
        with contextlib.suppress(SkugraphError, TimeoutError), locked(home.run / CLIENTS_LOCK, shared=True):
            if running(home) is None:
                _start(settings, home)

    thread = threading.Thread(target=work, name="prepare-stores", daemon=True)
    if settings.graph_uri is None or settings.vectors_uri is None:
        Home(settings.home).create()
        thread.start()
    return thread


def revive_stores(settings: Settings) -> bool:
    """For who keeps the stores open: start the embedded ones again if their supervisor is gone; True when it was.

    Raises:
        StoreDown: they do not start.
    """
    home = Home(settings.home)
    if (settings.graph_uri and settings.vectors_uri) or running(home) is not None:
        return False
    _start(settings, home)
    return True


def stop_stores(home: Home, *, timeout_s: float = 60) -> bool:
    """Ask the home's supervisor to stop and wait for its end; False when none runs."""
    state = home.read_run(STORES_RUN)
    if state is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(state["pid"])
        supervisor.terminate()
        supervisor.wait(timeout_s)
    return True


def graph_address(settings: Settings, services: dict[str, Any]) -> GraphAddress:
    """Where the graph of these settings answers.

    Raises:
        StoreDown: it is the embedded one, and no supervisor serves it.
    """
    if settings.graph_uri is None:
        home = Home(settings.home)
        known = _service(home, services, "graph")
        return EmbeddedGraph(home, known["bolt_port"], known["http_port"]).at
    return GraphAddress(
        uri=settings.graph_uri,
        user=settings.graph_user,
        password=settings.graph_password.get_secret_value(),
        database=settings.graph_database,
        reader_user=settings.graph_reader_user or "",
        reader_password=settings.graph_reader_password.get_secret_value(),
    )


def _service(home: Home, services: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in services:
        why = "its supervisor serves only the other store" if services else "it does not run"
        raise StoreDown(name, str(home.root), why, hint="`skugraph up` starts the embedded stores")
    return services[name]


def _start(settings: Settings, home: Home) -> dict[str, Any]:
    """Start the supervisor, or wait for the one that another process is starting; its services."""
    with locked(home.run / "start.lock"):
        if (services := running(home)) is not None:
            return services
        log = home.log / "supervisor.log"
        command = [sys.executable, "-m", "kg.supervisor", "--home", str(home.root)]
        process = spawn(command, cwd=home.root, log=log, env=_environment(settings), on_death=None)
        _supervisors.append(process)
        end = time.monotonic() + START_S
        while (services := running(home)) is None:
            if process.poll() is not None:
                raise StoreDown("embedded", str(home.root), tail(log))
            if time.monotonic() > end:
                raise StoreDown("embedded", str(home.root), f"no answer within {START_S:.0f} s of the start")
            time.sleep(0.05)
        return services


def _environment(settings: Settings) -> dict[str, str]:
    """What the supervisor must know of settings that came from neither its environment nor the settings file."""
    names = ("graph_heap", "stores_linger_s", "log_level", "graph_uri", "vectors_uri")
    known = {f"SKUGRAPH_{name.upper()}": getattr(settings, name) for name in names}
    return {name: str(value) for name, value in known.items() if value is not None} | {"PYTHONPATH": PACKAGES}
