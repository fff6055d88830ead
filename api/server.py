"""The processes of `skugraph up`: embedded stores, a worker, the API; all stop together."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import uvicorn

from api.app import create_app
from api.auth import is_loopback, keys_wanted
from api.client import RUN_NAME
from kg.errors import BadInput, JobError
from kg.home import Home, try_lock
from kg.processes import stop
from kg.settings import Settings
from kg.stores import open_stores, stop_stores
from kg.supervisor import CLIENTS_LOCK
from workers.process import start_worker

__all__ = ["serve"]

log = logging.getLogger("skugraph.up")

READY_POLL_S = 0.1
WATCH_S = 1.0  # how often the worker is looked at
RESTART_S = 5.0  # before another one is started


def serve(settings: Settings, *, worker: bool = True, on_ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until SIGINT or SIGTERM; call it in the main thread.

    Args:
        settings: see kg/settings.py.
        worker: also run a worker process.
        on_ready: called once, with the address, when everything answers.

    Raises:
        BadInput: this home is served already, or the port is taken.
        StoreDown: a store does not answer.
    """
    home = Home(settings.home).create()
    if (running := home.read_run(RUN_NAME)) is not None:
        raise BadInput(f"{settings.home} is served already, at {running['url']} by process {running['pid']}")
    if not keys_wanted(settings):
        open_to = "this machine only" if is_loopback(settings.api_host) else "EVERYBODY who reaches this address"
        print(f"API keys are off: the API answers {open_to}", file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end the same way, also while starting
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        stack.callback(_stop_idle_stores, home)
        listener = stack.enter_context(_listen(settings.api_host, settings.api_port))
        port = listener.getsockname()[1]
        shown = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::") else settings.api_host
        url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
        stack.enter_context(open_stores(settings))
        keeper = WorkerKeeper(settings)
        if worker:
            keeper.start()
            stack.callback(keeper.stop)
        app = create_app(settings, token=secrets.token_urlsafe(32))
        stack.callback(home.forget_run, RUN_NAME)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)

        def announce() -> None:
            while not (server.started and (keeper.ready.is_set() or not worker) and not app.state.backend.missing()):
                if server.should_exit or keeper.failure:
                    server.should_exit = True
                    return
                time.sleep(READY_POLL_S)
            home.write_run(RUN_NAME, url=url, token=app.state.backend.token)
            on_ready(url)

        threading.Thread(target=announce, name="announce", daemon=True).start()
        server.run(sockets=[listener])
        if keeper.failure:
            raise keeper.failure


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


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything is started: a port in use is known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = "another port: --port N, or 0 for any free one"
        raise BadInput(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", hint=hint) from error
    return listener


def _stop_idle_stores(home: Home) -> None:
    """Stop the embedded stores, unless another process is still using them."""
    if (lease := try_lock(home.run / CLIENTS_LOCK)) is None:
        log.warning("the embedded stores run on: another process is using them")
        return
    try:
        stop_stores(home)
    finally:
        os.close(lease)
