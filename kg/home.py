"""The home folder: where the embedded stores, models, caches and logs lie, and how processes find each other."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg.processes import alive, started_at

try:
    import fcntl
except ImportError:  # Windows: no embedded stores there, external ones work
    fcntl = None  # type: ignore[assignment]

__all__ = ["CLIENTS_LOCK", "STORES_RUN", "Home", "locked", "try_lock"]

STORES_RUN = "stores"  # name of the run file of the stores' supervisor
CLIENTS_LOCK = "clients.lock"  # in `run`: every process that uses the embedded stores holds it shared


@dataclass(frozen=True)
class Home:
    """Paths below one root folder."""

    root: Path

    @property
    def graph(self) -> Path:
        return self.root / "graph"

    @property
    def vectors(self) -> Path:
        return self.root / "vectors"

    @property
    def broker(self) -> Path:
        return self.root / "broker"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def create(self) -> Home:
        """Make every folder, readable by the owner only."""
        for folder in (self.root, self.graph, self.vectors, self.broker, self.cache, self.models, self.run, self.log):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def write_run(self, name: str, **values: Any) -> None:
        """Replace run/NAME.json by `values` and this process's pid and start time, atomically, mode 0600."""
        pid = os.getpid()
        write_private(self.run / f"{name}.json", json.dumps({"pid": pid, "started": started_at(pid), **values}))

    def read_run(self, name: str, *, stale: bool = False) -> dict[str, Any] | None:
        """What the process that wrote run/NAME.json says, or None when that process is gone.

        Args:
            name: file name without `.json`.
            stale: also read what a process left that is gone.
        """
        try:
            values = json.loads((self.run / f"{name}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return values if stale or alive(values["pid"], values["started"]) else None

    def forget_run(self, name: str) -> None:
        (self.run / f"{name}.json").unlink(missing_ok=True)

    def secret(self, path: Path) -> str:
        """The password in that file, made up at the first call."""
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, timeout_s: float = 120) -> Iterator[None]:
    """Hold an advisory lock on the file; the kernel drops it when the process dies, however it dies.

    Raises:
        TimeoutError: another process held it for `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    while (handle := try_lock(path, shared=shared)) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"{path} is locked by another process for {timeout_s:.0f} s")
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(handle)


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take the lock now and return its file descriptor (close it to let go), or None where another holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
