"""Flower, Celery's own page, sees our workers; and our tasks where a real broker carries their events."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kg.migrate import migrate
from kg.processes import free_port, spawn, stop, tail
from kg.stores import Stores
from tests.conftest import apart, wipe
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.jobs import submit_embed, wait
from workers.process import environment, start_worker

REDIS = os.environ.get("SKUGRAPH_TEST_REDIS_URL")
USER = "watcher:of-tests"


def ask(url: str, path: str, *, user: str = USER) -> Any:
    request = urllib.request.Request(url + path)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def until(url: str, path: str, flower: subprocess.Popen[bytes], log: Path) -> Any:
    """What it answers there, once that is something."""
    end = time.monotonic() + 90
    while True:
        try:
            if found := ask(url, path):
                return found
        except OSError:  # not up yet
            pass
        assert flower.poll() is None, tail(log)
        assert time.monotonic() < end, tail(log)
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["folder", pytest.param("redis", marks=pytest.mark.redis)])
def test_flower_sees_the_worker_and_its_tasks(embedded: Stores, tmp_path: Path, broker: str) -> None:
    if broker == "redis" and not REDIS:
        pytest.skip("SKUGRAPH_TEST_REDIS_URL names no Redis server")
    migrate(embedded.graph)
    wipe(embedded)  # of what other tests have left: a live generation of theirs, say
    of_redis = {"broker_url": REDIS, "result_backend": REDIS} if broker == "redis" else {}
    here = apart(embedded, tmp_path / "home", **of_redis)
    settings = here.settings
    log, port = tmp_path / "flower.log", free_port()
    command = [sys.executable, "-m", "celery", "-A", "workers.console", "flower"]
    command += ["--address=127.0.0.1", f"--port={port}", f"--basic_auth={USER}"]
    worker = start_worker(settings)
    flower = spawn(command, cwd=tmp_path, log=log, env=environment(settings) | {"OMP_NUM_THREADS": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        name = f"skugraph-{worker.pid}@{os.uname().nodename}"
        seen = until(url, "/api/workers?refresh=1", flower, log)
        assert list(seen) == [name]
        assert {queue["name"] for queue in seen[name]["active_queues"]} == set(settings.worker_queues)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(url, "/api/workers", user="")

        put(here.graph, "p1", title="Jar", pictures=[draw(tmp_path / "1.png", 1)])
        job = wait(here, submit_embed(here, write_tiny(tmp_path / "tiny")).id, timeout_s=60)
        assert job.state == "done", job.error
        if broker == "folder":
            return  # it carries commands and their answers, but no events
        tasks = until(url, "/api/tasks?state=SUCCESS", flower, log)
        assert [(task["name"], job.id in task["args"]) for task in tasks.values()] == [("embed", True)]
    finally:
        stop(flower)
        stop(worker)
