"""skugraph as it runs in earnest, on loopback: every process may be killed, and comes back as an init system brings it.

harness ─┬─ `skugraph up`: API ── worker
         ├─ Redis, where `redis-server` is found (else the folder of the home is the broker)
         ├─ other servers that the caller names (a genuine Neo4j)
         └─ supervisor ── graph, vectors
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from kg.home import STORES_RUN, Home
from kg.processes import alive, free_port, spawn, started_at, stop
from kg.settings import Settings
from kg.stores import Stores, open_stores, running, stop_stores
from workers.process import environment

__all__ = ["Down", "Keeper", "Rig", "redis_keeper"]

log = logging.getLogger("skugraph.faults")
WATCH_S = 0.1
READY_S = 600.0  # also on a machine that has much else to do

Start = Callable[[], "subprocess.Popen[bytes]"]


class Keeper(threading.Thread):
    """Runs one process and starts it anew when it ends.

    Attributes:
        process: the one that runs now.
        starts: how often it was started.
    """

    def __init__(self, name: str, start: Start) -> None:
        super().__init__(name=f"keep-{name}", daemon=True)
        self._start, self.starts = start, 0
        self.process: subprocess.Popen[bytes] | None = None
        self._stopping, self._first = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.process = self._start()
            except (OSError, RuntimeError) as error:  # it did not come up in time: the next may
                log.warning("%s: %s", self.name, error)
                continue
            self.starts += 1
            self._first.set()
            while self.process.poll() is None and not self._stopping.wait(WATCH_S):
                pass
        if self.process is not None:
            stop(self.process, timeout_s=60)

    def begin(self) -> Keeper:
        self.start()
        self._first.wait(READY_S)
        return self

    def end(self) -> None:
        self._stopping.set()
        self.join()


def redis_keeper(folder: Path, port: int) -> Keeper:
    """A Redis that keeps nothing: after a restart every message is lost."""
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("redis-server") or "redis-server"
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    return Keeper("broker", lambda: spawn(command, cwd=folder, log=folder / "redis.log"))


@dataclass
class Down:
    """A time in which the API was away: from its kill until it answered again (monotonic seconds)."""

    since: float
    until: float = float("inf")


@dataclass
class Rig:
    """Use as `with Rig(settings) as rig`; everything answers once it is entered.

    Args:
        settings: of a home of its own; `broker_url` is set here where Redis is used.
        servers: further processes to keep, by the name under which they are killed.
        redis: use Redis; None where `redis-server` is found.
        workers: how many; those beside the one of `skugraph up` are killed as "worker 2", …
        paths: folders of modules that the processes shall find (an encoder of one's own).
    """

    settings: Settings
    servers: Mapping[str, Keeper] = field(default_factory=dict)
    redis: bool | None = None
    workers: int = 1
    paths: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.away: list[Down] = []
        self.kept: dict[str, Keeper] = {}
        self._open = ExitStack()
        self.stores: Stores

    def __enter__(self) -> Rig:
        with ExitStack() as stack:
            self._enter(stack)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def _enter(self, stack: ExitStack) -> None:
        self.home = Home(self.settings.home).create()
        with_redis = shutil.which("redis-server") is not None if self.redis is None else self.redis
        if with_redis:
            port = free_port()
            self.settings = self.settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{port}/0"})
            self._keep(stack, "broker", redis_keeper(self.home.root / "redis", port))
        for name, keeper in self.servers.items():
            self._keep(stack, name, keeper)
        stack.callback(stop_stores, self.home)
        self.stores = stack.enter_context(open_stores(self.settings))
        self._keep(stack, "api", Keeper("api", self._up))
        for number in range(2, self.workers + 1):
            self._keep(stack, f"worker {number}", Keeper(f"worker {number}", self._work))
        self.await_whole()

    def _keep(self, stack: ExitStack, name: str, keeper: Keeper) -> None:
        self.kept[name] = keeper
        stack.callback(keeper.end)
        keeper.begin()

    def _up(self) -> subprocess.Popen[bytes]:
        return self._ours("up.log", "api.cli", "up", "--host", "127.0.0.1", "--port", str(self.port))

    def _work(self) -> subprocess.Popen[bytes]:
        return self._ours("worker.log", "workers.process")

    def _ours(self, log: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        known = environment(self.settings)
        known["PYTHONPATH"] = os.pathsep.join([known["PYTHONPATH"], *map(str, self.paths)])
        command = [sys.executable, "-m", module, *arguments]
        return spawn(command, cwd=self.home.root, log=self.home.log / log, env=known)

    @property
    def embedded(self) -> bool:
        """Whether it has stores that a supervisor owns."""
        return self.settings.graph_uri is None or self.settings.vectors_uri is None

    def pids(self) -> dict[str, int]:
        """Process that can be killed now, by name."""
        found = {name: keeper.process.pid for name, keeper in self.kept.items() if _runs(keeper)}
        services = running(self.home) or {}
        found |= {name: at["pid"] for name, at in services.items() if alive(at["pid"], at["started"])}
        if (supervisor := self.home.read_run(STORES_RUN)) is not None:
            found["supervisor"] = supervisor["pid"]
        workers = set(self._workers())  # those that are ready
        beside = {name: pid for name, pid in found.items() if name.startswith("worker ")}
        for name in [name for name, pid in beside.items() if pid not in workers]:
            del found[name]
        if own := workers - set(beside.values()):
            found["worker"] = max(own)
        return found

    def _workers(self) -> Iterator[int]:
        for path in sorted(self.home.run.glob("worker-*.json")):
            if (state := self.home.read_run(path.stem)) is not None:
                yield int(state["pid"])

    def kill(self, name: str) -> int | None:
        """kill -9; the pid, None where that process is not there at the moment."""
        pid = self.pids().get(name)
        if pid is None or started_at(pid) is None:
            return None
        if name == "api":
            self._note_down()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def _note_down(self) -> None:
        down = Down(time.monotonic())
        self.away.append(down)

        def watch() -> None:
            time.sleep(WATCH_S)
            while not self.answers("/healthz"):
                time.sleep(WATCH_S)
            down.until = time.monotonic()

        threading.Thread(target=watch, daemon=True).start()

    def answers(self, path: str = "/readyz") -> bool:
        try:
            return httpx.get(self.url + path, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def whole(self) -> bool:
        """Whether every process runs and answers."""
        names = {"api", "worker", *self.kept}
        if self.settings.graph_uri is None:
            names.add("graph")
        if self.settings.vectors_uri is None:
            names.add("vectors")
        if self.embedded:
            names.add("supervisor")
        return names <= set(self.pids()) and self.answers()

    def await_whole(self, timeout_s: float = READY_S) -> float:
        """Seconds until everything answers.

        Raises:
            TimeoutError: something does not; the message names it.
        """
        began = time.monotonic()
        while not self.whole():
            if time.monotonic() - began > timeout_s:
                raise TimeoutError(f"after {timeout_s:g} s only {', '.join(sorted(self.pids()))} run")
            time.sleep(WATCH_S)
        return time.monotonic() - began

    def was_away(self, since: float, until: float) -> bool:
        """Whether the API was away at some time between these two."""
        return any(down.since <= until and since <= down.until for down in self.away)


def _runs(keeper: Keeper) -> bool:
    return keeper.process is not None and keeper.process.poll() is None
