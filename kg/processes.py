"""Child processes: started, watched and stopped the same way whatever they serve."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

__all__ = ["alive", "free_port", "port_is_free", "spawn", "started_at", "stop", "tail"]


def spawn(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    on_death: signal.Signals | None = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, both outputs appended to `log`.

    On Linux it gets `on_death` when its parent is gone (None: it lives on). The kernel ties it to the thread that calls
    this, so call it from one that stays.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tie = None
    if sys.platform == "linux" and on_death is not None:
        prctl = ctypes.CDLL(None).prctl  # loaded before the fork

        def tie() -> None:
            prctl(1, on_death)  # PR_SET_PDEATHSIG

    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=tie,
        )


def stop(process: subprocess.Popen[bytes], *, with_signal: int = signal.SIGTERM, timeout_s: float = 30) -> None:
    """Ask the process to end, and end it if it has not after `timeout_s`."""
    if process.poll() is None:
        process.send_signal(with_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    if process.poll() is None:
        process.kill()
        process.wait()


def started_at(pid: int) -> float | None:
    """Epoch seconds at which the process started, None when there is no such process (or only its zombie)."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def alive(pid: int, started: float) -> bool:
    """Whether that very process runs: a pid alone may have been taken by another."""
    now = started_at(pid)
    return now is not None and abs(now - started) < 2


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def tail(log: Path, characters: int = 600) -> str:
    """Last words of a log, for error messages; empty when there is none."""
    return log.read_text(encoding="utf-8", errors="replace")[-characters:].strip() if log.is_file() else ""
