"""The processes of `skugraph up`: embedded stores, a worker, the API; all stop together."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import uvicorn

from api.app import create_app
from api.auth import is_loopback, keys_wanted
from api.listening import RUN_NAME, listen
from kg.errors import JobError, SkugraphError
from kg.home import CLIENTS_LOCK, Home, try_lock
from kg.processes import stop
from kg.settings import Settings
from kg.stores import open_stores, revive_stores, stop_stores
from kg.tracing import install
from workers.process import start_worker

__all__ = ["Served", "address", "serving"]

log = logging.getLogger("skugraph.up")

READY_POLL_S = 0.1
WATCH_S = 1.0  # how often the worker and the supervisor are looked at
RESTART_S = 5.0  # before another one is started


@dataclass(frozen=True)
class Served:
    """A home that is being served.

    Attributes:
        url: where, without a slash at the end.
        wait: returns when the server ends by itself; Ctrl-C and SIGTERM raise KeyboardInterrupt out of it.
        ours: this process serves it.
    """

    url: str
    wait: Callable[[], None]
    ours: bool = True


@contextmanager
def serving(settings: Settings, *, worker: bool = True, listener: socket.socket | None = None) -> Iterator[Served]:
    """Embedded stores, a worker and the API, for the time of a `with` block; entered once everything answers.

    Args:
        settings: see kg/settings.py.
        worker: also run a worker process.
        listener: of `listen`; None: it is called here.

    Raises:
        BadInput: this home is served already, or the port is taken.
        StoreDown: a store does not answer.
        JobError: the worker cannot be started.
    """
    home = Home(settings.home).create()
    listener = listener or listen(settings)
    install(settings, "api")
    if not keys_wanted(settings):
        open_to = "this machine only" if is_loopback(settings.api_host) else "EVERYBODY who reaches this address"
        print(f"API keys are off: the API answers {open_to}", file=sys.stderr)
    with ExitStack() as stack:
        stack.callback(_stop_idle_stores, home)
        stack.enter_context(listener)
        stack.enter_context(open_stores(settings))
        supervised = StoresKeeper(settings)
        supervised.start()
        stack.callback(supervised.stop)
        keeper = WorkerKeeper(settings)
        if worker:
            keeper.start()
            stack.callback(keeper.stop)
        app = create_app(settings, token=secrets.token_urlsafe(32))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
        thread.start()
        stack.callback(_stop_server, server, thread)
        while not server.started or (worker and not keeper.ready.is_set()) or app.state.backend.missing():
            if keeper.failure:
                raise keeper.failure
            if not thread.is_alive():
                raise SkugraphError("the API could not be started", hint="its log says why")
            time.sleep(READY_POLL_S)
        url = address(settings.api_host, listener.getsockname()[1])
        stack.callback(home.forget_run, RUN_NAME)
        home.write_run(RUN_NAME, url=url, token=app.state.backend.token)
        yield Served(url, lambda: _join(thread))


def _join(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(WATCH_S)  # a join without a limit would not let a signal through everywhere


def _stop_server(server: uvicorn.Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join()


def address(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class WorkerKeeper(threading.Thread):
    """Runs one worker process and starts it anew when it dies.

    Attributes:
        ready: set once the first worker takes jobs.
        failure: why the first one could not be started, else None.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="worker-keeper", daemon=True)
        self.settings, self.ready = settings, threading.Event()
        self.failure: JobError | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                process = start_worker(self.settings)
            except JobError as error:
                if not self.ready.is_set():
                    self.failure = error
                    return
                log.error("%s", error)
            else:
                self.ready.set()
                while process.poll() is None and not self._stopping.wait(WATCH_S):
                    pass
                if self._stopping.is_set():
                    stop(process)
                    return
                log.error("the worker ended with status %s; starting another", process.returncode)
            self._stopping.wait(RESTART_S)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


class StoresKeeper(threading.Thread):
    """Brings the embedded stores back when their supervisor died: it heals both servers, and who heals it is here."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="stores-keeper", daemon=True)
        self.settings, self._stopping = settings, threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(WATCH_S):
            try:
                if revive_stores(self.settings):
                    log.error("the supervisor of the embedded stores was gone; another was started")
            except SkugraphError as error:
                log.error("%s", error)
                self._stopping.wait(RESTART_S)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def _stop_idle_stores(home: Home) -> None:
    """Stop the embedded stores, unless another process is still using them."""
    if (lease := try_lock(home.run / CLIENTS_LOCK)) is None:
        log.warning("the embedded stores run on: another process is using them")
        return
    try:
        stop_stores(home)
    finally:
        os.close(lease)
