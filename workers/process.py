"""The worker as a process of its own: `python -m workers.process`, settings as everywhere."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from celery.signals import worker_ready
from pydantic import SecretStr

from kg.errors import JobError, SkugraphError
from kg.graph.clock import graph_time
from kg.graph.cypher.jobs import JOBS_ACTIVE
from kg.graph.driver import Graph
from kg.home import Home
from kg.processes import alive, spawn, tail
from kg.settings import Settings, load_settings
from kg.stores import Stores, open_stores
from kg.tracing import install
from kg.vectors.switching import settle
from workers.app import broker_down, make_app
from workers.jobs import parse
from workers.lease import BEAT_S, rescue
from workers.metrics import serve
from workers.signals import watch_tasks

__all__ = ["environment", "main", "run_name", "start_worker", "workers_alive"]

RESCUE_S = 15.0  # how often a worker looks for jobs that nobody works on
SILENT_S = 3 * BEAT_S  # a worker on another host that was at a job so long ago may not live any more
RUN = "worker"
log = logging.getLogger(__name__)


def start_worker(settings: Settings, *, timeout_s: float = 120) -> subprocess.Popen[bytes]:
    """Start a worker and wait until it is ready; it ends with this process.

    Raises:
        JobError: it ended, or was not ready after `timeout_s`; the message has the end of its log.
    """
    home = Home(settings.home).create()
    log_file = home.log / "worker.log"
    command = [sys.executable, "-m", "workers.process"]
    process = spawn(command, cwd=home.root, log=log_file, env=environment(settings))
    end = time.monotonic() + timeout_s
    while home.read_run(run_name(process.pid)) is None:
        if process.poll() is not None:
            raise JobError(f"the worker ended with status {process.returncode}: {tail(log_file)}")
        if time.monotonic() > end:
            process.kill()
            raise JobError(f"the worker was not ready after {timeout_s:g} s: {tail(log_file)}")
        time.sleep(0.1)
    return process


def run_name(pid: int) -> str:
    """Run file of a worker of this host. Containers may share a home, and in each the worker has the same pid."""
    return f"{RUN}-{socket.gethostname()}-{pid}"


def workers_alive(settings: Settings, graph: Graph | None = None) -> list[dict[str, Any]]:
    """Workers of this home on this machine: pid, since (epoch seconds), queues; with a broker of one's own also those
    elsewhere, by name: the idle ones answer, and those in the middle of a step, which do not, give signs of life at
    their job in the graph, if that is given.

    Raises:
        StoreDown: a broker of one's own, or the graph, that does not answer.
    """
    home = Home(settings.home)
    names = sorted(path.stem for path in home.run.glob(f"{RUN}-*.json")) if home.run.is_dir() else []
    found = [state for name in names if (state := home.read_run(name)) is not None]
    if settings.broker_url is not None:
        app = make_app(settings)
        with broker_down(app):
            answers = app.control.ping(timeout=1)
        others = [name for answer in answers for name in answer] + (_at_work(graph) if graph is not None else [])
        local = {worker["worker"] for worker in found}
        found += [{"worker": name, "pid": None} for name in dict.fromkeys(others) if name not in local]
    return found


def _at_work(graph: Graph) -> list[str]:
    """Names of the workers that are at a job now."""
    at = graph_time(graph)
    running = [job for row in graph.read(JOBS_ACTIVE) if (job := parse(row["j"])).state == "running"]
    found = []
    for job in running:
        host, pid, started = job.worker.split(" ")
        here = host == socket.gethostname()
        if alive(int(pid), started) if here else at - job.heartbeat < SILENT_S:
            found.append(_name(host, pid))
    return found


def _name(host: str, pid: int | str) -> str:
    return f"skugraph-{pid}@{host}"


def environment(settings: Settings) -> dict[str, str]:
    """Environment variables that give a child process these settings."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # where an encoder from outside may lie
    paths = [str(Path(__file__).parents[1]), *(os.path.abspath(path) for path in inherited if path)]
    found = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            found[f"SKUGRAPH_{name.upper()}"] = (
                json.dumps(value) if isinstance(value, (tuple, bool, dict)) else str(value)
            )
    return found


def main() -> None:
    """Serve the queues of the settings until SIGTERM, then finish the chunk at hand."""
    settings = load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    install(settings, "worker")
    watch_tasks()
    port = serve(settings)
    app = make_app(settings)
    name, run = _name(socket.gethostname(), os.getpid()), run_name(os.getpid())
    over = threading.Event()
    with open_stores(settings) as stores:
        app.stores = stores

        watcher = threading.Thread(target=watch, args=(stores, over), name="rescue")

        @worker_ready.connect(weak=False)
        def ready(**_: Any) -> None:
            known = {"worker": name, "since": time.time(), "queues": settings.worker_queues, "metrics_port": port}
            stores.home.write_run(run, **known)
            watcher.start()

        arguments = ["worker", "--pool=solo", f"--queues={','.join(settings.worker_queues)}", f"--hostname={name}"]
        arguments += [f"--loglevel={settings.log_level}", "--without-gossip", "--without-mingle"]
        try:
            app.worker_main(arguments)
        finally:
            stores.home.forget_run(run)
            over.set()
            if watcher.ident is not None:
                watcher.join()


def watch(stores: Stores, over: threading.Event) -> None:
    """Now and then, wake the jobs that nobody works on, and let the graph follow the alias."""
    while True:
        try:
            settle(stores)  # who died between a flip of the alias and its note in the graph left that to do
            for job in rescue(stores):
                log.warning("job %s had no worker: sent again", job.id)
        except SkugraphError as error:
            log.warning("%s", error)
        if over.wait(RESCUE_S):
            return


if __name__ == "__main__":
    main()
