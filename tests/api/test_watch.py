"""Gauges of the moment: what answers, what waits, how far behind; and the answer comes when a part is down."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from kg.audit import FaultKind, audit
from kg.processes import free_port, stop
from kg.settings import Settings
from kg.stores import Stores
from tests.api.test_search import embed
from tests.conftest import apart
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.app import TASKS
from workers.jobs import State, pause, submit_embed, submit_relate, wait
from workers.process import run_name, start_worker

HERE = "http://127.0.0.1:8765"
Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """Values by name and the values of the labels, in the order of their names."""
    return {
        (one.name, *one.labels.values()): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def ask(settings: Settings) -> Samples:
    with TestClient(create_app(settings), base_url=HERE) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


@pytest.fixture
def here(stores: Stores, tmp_path: Path) -> Stores:
    """The stores of the session with a broker of this test alone."""
    return apart(stores, tmp_path / "home", worker_metrics_port=0)


def test_jobs_queues_and_generations_are_counted(here: Stores, tmp_path: Path) -> None:
    put(here.graph, "p1", title="Jar", pictures=[draw(tmp_path / "1.png", 1)])
    live = embed(here, write_tiny(tmp_path / "tiny"))
    put(here.graph, "p2", title="Box")
    put(here.graph, "p3", title="Cup")
    submit_relate(here)
    report = audit(here)
    pause(here, submit_embed(here, write_tiny(tmp_path / "tiny")).id)
    seen = ask(here.settings)
    assert {part: seen["skugraph_up", part] for part in ("graph", "vectors", "broker")} == {
        "graph": 1,
        "vectors": 1,
        "broker": 1,
    }
    assert seen["skugraph_jobs", "relate", "queued"] == 1
    assert seen["skugraph_jobs", "embed", "paused"] == 1
    every = {(kind, state): seen["skugraph_jobs", kind, state] for kind in TASKS for state in get_args(State)}
    assert sum(every.values()) == 2, "also the kinds and states of which there is none: the first failure is a rise"
    assert (seen["skugraph_queue_messages", "graph"], seen["skugraph_queue_messages", "encode"]) == (1, 1)
    assert seen["skugraph_generation_stale", live.id, "live"] == 2
    assert seen["skugraph_drift",] == pytest.approx(report.drift)
    assert abs(seen["skugraph_audit_at_seconds",] - time.time()) < 60
    assert sum(seen["skugraph_audit_faults", kind] for kind in get_args(FaultKind)) == report.faults.total()
    assert abs(seen["skugraph_watched_at_seconds",] - time.time()) < 60

    here.graph.write("MATCH (n) WHERE n:Job OR n:Generation DETACH DELETE n")
    again = ask(here.settings)
    assert not [key for key in again if key[0] == "skugraph_generation_stale"], "what is gone is gone"
    assert {value for key, value in again.items() if key[0] == "skugraph_jobs"} == {0}


def test_a_part_that_is_down_is_said_and_the_answer_comes(embedded: Stores) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    broken = embedded.settings.model_copy(
        update={"vectors_uri": nobody, "vectors_timeout_s": 1, "broker_url": f"redis://127.0.0.1:{free_port()}/0"}
    )
    seen = ask(broken)
    assert (seen["skugraph_up", "graph"], seen["skugraph_up", "vectors"], seen["skugraph_up", "broker"]) == (1, 0, 0)


def test_a_worker_answers_on_its_own_port(here: Stores, tmp_path: Path) -> None:
    put(here.graph, "p1", title="Jar", pictures=[draw(tmp_path / "1.png", 1), tmp_path / "gone.png"])
    worker = start_worker(here.settings)
    try:
        state = here.home.read_run(run_name(worker.pid))
        assert state is not None
        job = wait(here, submit_embed(here, write_tiny(tmp_path / "tiny")).id, timeout_s=60)
        assert (job.state, job.rejected) == ("done", 1)
        url = f"http://127.0.0.1:{state['metrics_port']}/metrics"
        end = time.monotonic() + 10
        while True:  # the job is done a moment before its task is
            seen = samples(urllib.request.urlopen(url, timeout=10).read().decode())
            if ("skugraph_worker_task_seconds_count", "success", "embed") in seen or time.monotonic() > end:
                break
            time.sleep(0.1)
    finally:
        stop(worker)
    assert seen["skugraph_worker_task_seconds_count", "success", "embed"] == 1
    assert (seen["skugraph_worker_vectors_total", "image"], seen["skugraph_worker_vectors_total", "text"]) == (1, 1)
    assert (seen["skugraph_worker_products_total",], seen["skugraph_worker_rejects_total",]) == (1, 1)
    assert seen["skugraph_worker_stage_seconds_total", "pipeline"] > 0
