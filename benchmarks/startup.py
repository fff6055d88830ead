"""How long `skugraph up` takes: until it answers the first search, and until all of it is ready.

    python -m benchmarks.startup [--size N] [--runs N] [--quick] --out FILE

A home with a made-up catalogue (`skugraph scale`) and a live generation. Each run starts `skugraph up` as users do, and
asks for what is like a product until that is answered, waits for `ready`, and stops it. The median counts; a run before
the first fills the caches of the system. The imports on the way are timed in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, write_figures
from kg.home import Home
from kg.processes import free_port
from kg.scale import Scale, load
from kg.settings import load_settings
from kg.stores import open_stores, stop_stores

GOAL_S = 6.0
IMPORTS = ("api.cli", "kg.supervisor", "api.server", "workers.process")
PATIENCE_S = 180.0


def fill(home: Home, size: int) -> None:
    with open_stores(load_settings(home=home.root)) as stores:
        load(stores, Scale(size, dim=64))
    stop_stores(home)


def run(home: Home) -> dict[str, float]:
    """Seconds from the start of the process until: stores run, first answer, ready."""
    port = free_port()
    seconds: dict[str, float] = {}
    command = [sys.executable, "-m", "api.cli", "up", "--home", str(home.root), "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    lines = process.stdout

    def ready() -> None:
        if lines.readline():
            seconds["ready"] = time.perf_counter() - started

    reader = threading.Thread(target=ready)
    reader.start()
    try:
        while time.perf_counter() - started < PATIENCE_S and process.poll() is None:
            if "stores" not in seconds and home.read_run("stores") is not None:
                seconds["stores"] = time.perf_counter() - started
            if answered(port):
                seconds["answer"] = time.perf_counter() - started
                break
            time.sleep(0.02)
        reader.join(PATIENCE_S)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    if "answer" not in seconds:
        raise RuntimeError(f"no answer within {PATIENCE_S:g} s; see {home.log}")
    return seconds


def answered(port: int) -> bool:
    """Whether a search has an answer with hits."""
    body = json.dumps({"like": "s00000003", "k": 5}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/search", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            found: dict[str, Any] = json.load(reply)
    except (urllib.error.URLError, OSError):
        return False
    return found["returned"] == 5


def importing(module: str) -> float:
    """Seconds that a process needs to start and import it, less those of an empty one."""

    def timed(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    return max(0.0, timed(f"import {module}") - timed("pass"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=10_000, help="listings of the catalogue")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="200 listings, one run")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    size, runs = (200, 1) if options.quick else (options.size, options.runs)
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        try:
            fill(home, size)
            run(home)
            found = [run(home) for _ in range(runs)]
        finally:
            stop_stores(home)
    median = {name: statistics.median(one.get(name, float("nan")) for one in found) for name in found[0]}
    what = f"`skugraph up` with {size:,} listings, median of {runs}"
    figures = [
        Figure(f"{what}: first answer", median["answer"], "s", None, f"{GOAL_S:g} s", median["answer"] <= GOAL_S),
        Figure(f"{what}: worst run", max(one["answer"] for one in found), "s"),
        Figure("ready, with a worker", median["ready"], "s"),
        *(Figure(f"import {module}", importing(module), "s") for module in IMPORTS),
    ]
    if "stores" in median:
        figures.insert(2, Figure("both embedded stores answer", median["stores"], "s"))
    write_figures(figures, options.out)


if __name__ == "__main__":
    main()
