"""A disk that is full: the job says so, nothing is half-written, and with room again it goes on.

The folder of one store lies on a small file system of its own (tmpfs); where mounting is not permitted this is skipped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg.audit import audit
from kg.home import Home
from kg.settings import load_settings
from kg.stores import Stores, open_stores, running, stop_stores
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.jobs import Job, get_job, resume, submit_embed
from workers.tasks import step
from workers.tasks.embed import embed_step

PRODUCTS, SIZE_MB = 24, 64


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A home whose vectors lie on a file system of 64 MB."""
    home = Home(tmp_path / "home").create()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "none", str(home.vectors)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no `mount` on this machine")
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    try:
        yield home.root
    finally:
        stop_stores(home)
        subprocess.run(["umount", "--lazy", str(home.vectors)], check=True)


@pytest.fixture
def own(small: Path, tmp_path: Path) -> Iterator[Stores]:
    settings = load_settings(home=small, stores_linger_s=5, graph_heap="512m", embed_chunk=4, vectors_timeout_s=10)
    with open_stores(settings) as stores:
        for n in range(PRODUCTS):
            put(stores.graph, f"p{n:02d}", title=f"Jar number {n}", pictures=[draw(tmp_path / f"{n}.png", n)])
        yield stores


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 512)
    return path


def run(stores: Stores, job: str) -> Job:
    """Step by step as workers would, until it is over."""
    while not (seen := get_job(stores, job)).over:
        with contextlib.suppress(Exception):  # it is written into the job
            step(stores, job, embed_step)
    return seen


def restart(stores: Stores) -> None:
    """The vector server ends, and its supervisor starts another."""
    before = (running(stores.home) or {})["vectors"]["pid"]
    os.kill(before, signal.SIGKILL)
    end = time.monotonic() + 120
    while (running(stores.home) or {}).get("vectors", {"pid": before})["pid"] == before and time.monotonic() < end:
        time.sleep(0.1)


def whole(stores: Stores, job: Job, products: int) -> None:
    assert (job.state, job.error) == ("done", "")
    found = audit(stores)
    assert not found.faults.total(), found.first
    assert stores.vectors.count(f"skugraph_{job.generation}_text") == products


def test_vectors_on_a_full_disk(own: Stores, tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "tiny", dim=2048)
    job = submit_embed(own, tiny)
    filler = fill(own.home.vectors)
    assert os.statvfs(own.home.vectors).f_bavail == 0
    full = run(own, job.id)
    assert (full.state, full.done) == ("failed", 0), "not even a collection could be made"
    filler.unlink()
    resume(own, job.id)
    stuck = run(own, job.id)
    if stuck.state == "failed":  # the disk was full when the collection's folder was there, and nothing in it
        assert "is in the way" in stuck.error
        restart(own)
        resume(own, job.id)
    whole(own, run(own, job.id), PRODUCTS)

    for n in range(PRODUCTS):  # and now that there is something to lose
        put(own.graph, f"q{n:02d}", title=f"Lamp number {n}", pictures=[draw(tmp_path / f"q{n}.png", n)])
    filler = fill(own.home.vectors)
    more = submit_embed(own, tiny)
    full = run(own, more.id)
    assert full.state == "failed", full
    assert full.error
    filler.unlink()
    resume(own, more.id)
    whole(own, run(own, more.id), 2 * PRODUCTS)
