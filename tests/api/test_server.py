"""`skugraph up` as a process: ready, found by the command line, healed, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from kg.home import Home
from kg.settings import Settings, load_settings
from kg.stores import stop_stores
from tests.api.cli.run import ROOT, answer, skugraph
from workers.process import workers_alive

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = load_settings(home=tmp_path_factory.mktemp("up"), graph_heap="512m", api_port=0)
    yield settings
    stop_stores(Home(settings.home))


@pytest.fixture
def up(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A serving process of a home of its own."""
    command = [sys.executable, "-m", "api.cli", "up", "--home", str(settings.home), "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SKUGRAPH_GRAPH_HEAP": "512m"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def until(true: Callable[[], object], timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_up_serves_heals_and_stops_everything(settings: Settings, up: subprocess.Popen[str], tmp_path: Path) -> None:
    assert up.stdout is not None
    assert up.stderr is not None
    word, url = up.stdout.readline().split()
    assert word == "ready"
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
    assert "API keys are off" in up.stderr.readline()

    table = tmp_path / "items.csv"
    table.write_text("id,title,brand\n1,Green bottle,Aurora\n")
    answer("ingest", table, settings=settings)
    reply = answer("search", "bottle", settings=settings)
    assert [hit["product"]["id"] for hit in reply["hits"]] == ["1"]
    searched = f'skugraph_search_seconds_count{{plan="{reply["plan"]}"}} '
    assert searched in httpx.get(f"{url}/metrics").text  # it was this server that answered the command line
    refused = skugraph("search", "--like", "2", "--json", settings=settings)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (2, "not-found")

    second = skugraph("up", "--home", settings.home)
    assert second.returncode == 2
    assert url in second.stderr

    [worker] = workers_alive(settings)
    os.kill(worker["pid"], signal.SIGKILL)
    until(lambda: [found["pid"] for found in workers_alive(settings)] not in ([], [worker["pid"]]))

    supervisor = Home(settings.home).read_run("stores")
    assert supervisor is not None
    os.kill(supervisor["pid"], signal.SIGKILL)
    # Whether anybody sees the 503 meanwhile depends on how long the servers take to come back.
    until(lambda: (Home(settings.home).read_run("stores") or supervisor)["pid"] != supervisor["pid"])
    until(lambda: httpx.get(f"{url}/readyz", timeout=60).is_success)
    assert [hit["product"]["id"] for hit in answer("search", "bottle", settings=settings)["hits"]] == ["1"]

    children = psutil.Process(up.pid).children(recursive=True)
    up.send_signal(signal.SIGTERM)
    assert up.wait(60) == 0
    assert up.stdout.read() == ""
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    left = [path.stem for path in (settings.home / "run").glob("*.json")]
    assert not [name for name in left if Home(settings.home).read_run(name)]


def test_a_port_in_use_is_said_before_anything_starts(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = skugraph("up", "--home", settings.home, "--port", port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert Home(settings.home).read_run("stores") is None
