"""Owner of the embedded stores: `python -m kg.supervisor --home DIR`.

Starts both servers on loopback ports, writes run/stores.json, brings a crashed one back on the same port and says so,
and stops when nobody has used them for a while. A user is a process that holds run/clients.lock shared: the kernel lets
go of it however the process ends. There is one supervisor a home; it holds run/supervisor.lock.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from kg.errors import SkugraphError, StoreDown
from kg.graph.embedded import EmbeddedGraph
from kg.home import CLIENTS_LOCK, STORES_RUN, Home, locked, try_lock
from kg.processes import alive, free_port, port_is_free, spawn, started_at, stop, tail
from kg.settings import Settings, load_settings
from kg.vectors.server import EmbeddedVectors

__all__ = ["main"]

log = logging.getLogger("skugraph.supervisor")

START_S = 90.0  # longest start of one server
TICK_S = 0.2
CRASHES = 5  # in CRASH_WINDOW_S: then the supervisor gives up rather than spin
CRASH_WINDOW_S = 120.0


class Service(Protocol):
    """One server: its command line, and whether it answers."""

    @property
    def name(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def log(self) -> Path: ...
    @property
    def stop_signal(self) -> signal.Signals: ...
    @property
    def ports(self) -> dict[str, int]: ...
    def command(self) -> list[str]: ...
    def answers(self) -> bool: ...


@dataclass
class Child:
    """A service and the process that runs it now."""

    service: Service
    home: Home
    process: subprocess.Popen[bytes] | None = None
    crashes: list[float] = field(default_factory=list)  # monotonic seconds
    restarts: int = 0

    def spawn(self) -> None:
        """Start the process."""
        service = self.service
        self.process = spawn(service.command(), cwd=self.home.root, log=service.log, on_death=service.stop_signal)

    def wait(self, stopping: threading.Event) -> None:
        """Wait until the process answers.

        Raises:
            StoreDown: it ended, or did not answer within `START_S`.
        """
        assert self.process is not None
        service, end = self.service, time.monotonic() + START_S
        while not service.answers():
            if self.process.poll() is not None:
                raise StoreDown(service.name, service.uri, f"it ended while starting: {tail(service.log)}")
            if time.monotonic() > end:
                raise StoreDown(service.name, service.uri, f"no answer within {START_S:.0f} s of its start")
            if stopping.wait(0.05):
                return

    def heal(self, stopping: threading.Event) -> bool:
        """Start the process again if it ended; True when it did.

        Raises:
            StoreDown: it ended too often lately.
        """
        if self.process is None or self.process.poll() is None:
            return False
        while not stopping.is_set():
            now = time.monotonic()
            self.crashes = [then for then in self.crashes if now - then < CRASH_WINDOW_S] + [now]
            if len(self.crashes) > CRASHES:
                raise StoreDown(self.name, self.service.uri, f"it ended {CRASHES} times: {tail(self.service.log)}")
            log.error("%s server (pid %d) ended with %d: restarting", self.name, self.pid, self.process.returncode)
            try:
                self.spawn()
                self.wait(stopping)
            except StoreDown as error:
                log.error("%s", error)
                stop(self.process, with_signal=self.service.stop_signal)
                continue
            self.restarts += 1
            log.warning("%s server answers again (pid %d, restart %d)", self.name, self.pid, self.restarts)
            break
        return True

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def describe(self) -> dict[str, Any]:
        """What clients need to know."""
        known = {
            "uri": self.service.uri,
            "pid": self.pid,
            "started": started_at(self.pid) or "",
            "restarts": self.restarts,
        }
        return known | {"log": str(self.service.log), **self.service.ports}


def main(argv: list[str] | None = None) -> int:
    """Run until asked to stop or nobody uses the stores; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kg.supervisor", description=__doc__)
    parser.add_argument("--home", type=Path)
    settings = load_settings(home=parser.parse_args(argv).home)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = Home(settings.home).create()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        with locked(home.run / "supervisor.lock", timeout_s=60):  # an earlier one may be stopping
            await_orphans(home)
            serve(settings, home, stopping)
    except (SkugraphError, TimeoutError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


def serve(settings: Settings, home: Home, stopping: threading.Event) -> None:
    """Run the servers until `stopping` is set or nobody uses them; they have ended when this returns."""
    children = [Child(service, home) for service in services(settings, home)]
    try:
        supervise(settings, home, children, stopping)
    finally:
        home.forget_run(STORES_RUN)  # first: nobody should still find them
        for child in children:
            if child.process is not None:
                stop(child.process, with_signal=child.service.stop_signal)


def supervise(settings: Settings, home: Home, children: list[Child], stopping: threading.Event) -> None:
    """Start the children, then watch them until `stopping` is set or the last user has left."""
    for child in children:  # all first: they start side by side
        child.spawn()
    for child in children:
        child.wait(stopping)
    used = time.monotonic()
    publish(home, children)
    while not stopping.wait(TICK_S):
        if any([child.heal(stopping) for child in children]):
            publish(home, children)
        clients = try_lock(home.run / CLIENTS_LOCK)
        if clients is None:
            used = time.monotonic()
        elif time.monotonic() - used >= settings.stores_linger_s:
            return  # the lock stays until this process ends: who comes now waits, then starts a new supervisor
        else:
            os.close(clients)


def services(settings: Settings, home: Home) -> list[Service]:
    """The servers that this home needs: those that the settings do not place elsewhere; on the ports of last time."""
    last = (home.read_run(STORES_RUN, stale=True) or {}).get("services", {})
    wanted: list[Service] = []

    def port(service: str, name: str) -> int:
        known = last.get(service, {}).get(name, 0)
        return known if known and port_is_free(known) else free_port()

    if settings.graph_uri is None:
        bolt, http = port("graph", "bolt_port"), port("graph", "http_port")
        wanted.append(EmbeddedGraph(home, bolt, http, heap=settings.graph_heap))
    if settings.vectors_uri is None:
        wanted.append(EmbeddedVectors(home, port("vectors", "port")))
    return wanted


def publish(home: Home, children: list[Child]) -> None:
    home.write_run(STORES_RUN, services={child.name: child.describe() for child in children})


def await_orphans(home: Home) -> None:
    """Let the servers of a supervisor that was killed finish their shutdown: they still hold the data."""
    last = (home.read_run(STORES_RUN, stale=True) or {}).get("services", {})
    for name, service in last.items():
        end = time.monotonic() + 30
        while alive(service["pid"], service["started"]) and time.monotonic() < end:
            time.sleep(0.1)
        if alive(service["pid"], service["started"]):
            log.warning("%s server (pid %d) of an earlier supervisor does not end: killing it", name, service["pid"])
            psutil.Process(service["pid"]).kill()


if __name__ == "__main__":
    sys.exit(main())
