"""The same worker over a Redis broker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kg.processes import stop
from kg.stores import Stores
from tests.conftest import apart
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.jobs import submit_embed, wait
from workers.process import start_worker, workers_alive

URL = os.environ.get("SKUGRAPH_TEST_REDIS_URL")


@pytest.mark.redis
@pytest.mark.skipif(not URL, reason="SKUGRAPH_TEST_REDIS_URL names no Redis server")
def test_a_job_over_redis(stores: Stores, tmp_path: Path) -> None:
    here = apart(stores, tmp_path / "home", broker_url=URL, result_backend=URL, embed_chunk=4)
    settings = here.settings
    for n in range(10):
        put(here.graph, f"p{n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    worker = start_worker(settings)
    try:
        assert [seen["pid"] for seen in workers_alive(settings)] == [worker.pid]
        job = wait(here, submit_embed(here, write_tiny(tmp_path / "tiny")).id, timeout_s=60)
        assert (job.state, job.done) == ("done", 10)
    finally:
        stop(worker)
