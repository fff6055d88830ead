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
from functools import lru_cache
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


def started_at(pid: int) -> str | None:
    """A mark of when the process started, None when there is no such process (or only its zombie).

    On Linux it is the tick of the running kernel at which that was, and which start of the kernel: setting the clock
    moves neither. Elsewhere it is the epoch second.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if not (boot := _boot()):
            return str(process.create_time())
        # The name stands in brackets and may hold anything; after it, the state is the third field, this the 22nd.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return f"{fields[19]}@{boot}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def alive(pid: int, started: str | float) -> bool:
    """Whether that very process runs: a pid alone may have been taken by another.

    `started` is as `started_at` told it; epoch seconds, as earlier versions wrote them down, are taken too.
    """
    now = started_at(pid)
    if now is None or now == started:
        return now is not None
    try:
        return abs(psutil.Process(pid).create_time() - float(started)) < 2
    except (psutil.NoSuchProcess, ValueError):
        return False


@lru_cache(maxsize=1)
def _boot() -> str:
    """Which start of the kernel this is, empty where nobody tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    except OSError:
        return ""


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
