"""One trace from a request through the broker and a worker process to both stores."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from api.app import create_app
from kg.processes import stop
from kg.settings import Settings
from kg.stores import Stores
from kg.trace_export import FileExporter
from kg.tracing import span
from tests.conftest import apart
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.jobs import wait
from workers.process import start_worker

HERE = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Whatever this process traces; a process has one provider for all its life."""
    found, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    trace.set_tracer_provider(provider)
    return found


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


@pytest.fixture
def here(stores: Stores, tmp_path: Path) -> Settings:
    """The stores of the session seen from a home, and a broker, of this test alone; its worker traces to a file."""
    spans = str(tmp_path / "spans.jsonl")
    return apart(stores, tmp_path / "home", trace_to=spans, worker_metrics_port=0).settings


@pytest.fixture
def api(here: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(here), base_url=HERE) as client:
        yield client


def hexes(found: ReadableSpan) -> tuple[str, str]:
    """Trace and span, as the lines of the file write them."""
    context = found.get_span_context()
    assert context is not None
    return f"0x{context.trace_id:032x}", f"0x{context.span_id:016x}"


def lines(path: Path, trace_id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [line for line in found if line["context"]["trace_id"] == trace_id]


def test_a_request_and_all_steps_of_its_job_are_one_trace(
    stores: Stores, here: Settings, api: TestClient, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    put(stores.graph, "p1", title="Jar", pictures=[draw(tmp_path / "1.png", 1)])
    write_tiny(here.home / "models" / "tiny")
    worker = start_worker(here)
    try:
        answer = api.post("/v1/jobs", json={"kind": "embed", "encoder": "tiny"})
        assert answer.status_code == 202, answer.text
        job = wait(Stores(here, stores.graph, stores.vectors_uri), answer.json()["id"], timeout_s=60)
        assert job.state == "done", job.error
    finally:
        stop(worker)
    [request] = [
        found for found in spans.get_finished_spans() if found.name == "POST /v1/jobs" and found.kind is SpanKind.SERVER
    ]
    trace_id, _ = hexes(request)
    assert dict(request.attributes or {})["http.response.status_code"] == 202
    assert dict(request.attributes or {})["request_id"] == answer.headers["x-request-id"]
    ours = [found for found in spans.get_finished_spans() if hexes(found)[0] == trace_id]
    assert "graph write" in {found.name for found in ours}, "the job was written into the graph"

    theirs = lines(tmp_path / "spans.jsonl", trace_id)
    [task] = [line for line in theirs if line["name"] == "task embed"]
    assert task["parent_id"] in {hexes(found)[1] for found in ours}, "the message went from the request to the worker"
    assert (task["attributes"]["job"], task["attributes"]["state"]) == (job.id, "success")
    inside = {line["name"] for line in theirs if line["parent_id"] == task["context"]["span_id"]}
    assert {"graph read", "graph write", "vectors upsert"} <= inside, "threads of the pipeline belong to the task"
    assert {line["resource"]["attributes"]["service.name"] for line in theirs} == {"skugraph-worker"}


def test_the_callers_trace_goes_on(stores: Stores, api: TestClient, spans: InMemorySpanExporter) -> None:
    put(stores.graph, "p1", title="Jar")
    given = f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert api.post("/v1/search", json={"text": "jar", "k": 1}, headers={"traceparent": given}).status_code == 200
    ours = [one for one in spans.get_finished_spans() if hexes(one)[0] == f"0x{0xABC:032x}"]
    [search] = [one for one in ours if one.kind is SpanKind.SERVER]
    assert search.parent is not None
    assert search.parent.span_id == 0xDEF
    assert {"select", "results", "graph read"} <= {one.name for one in ours}


def test_what_nobody_asked_for_makes_no_trace(stores: Stores, api: TestClient, spans: InMemorySpanExporter) -> None:
    stores.graph.ping()
    assert stores.vectors.collections() is not None
    with span("alone"):
        pass
    for path in ("/healthz", "/readyz", "/metrics"):
        assert api.get(path).status_code == 200
    time.sleep(0.1)
    assert [found.name for found in spans.get_finished_spans()] == []


def test_a_failing_request_is_marked(api: TestClient, spans: InMemorySpanExporter) -> None:
    assert api.get("/v1/jobs/none").status_code == 404
    [found] = [one for one in spans.get_finished_spans() if one.kind is SpanKind.SERVER]
    assert found.name == "GET /v1/jobs/{id}"
    assert dict(found.attributes or {})["http.response.status_code"] == 404
    assert found.status.is_unset, "who asked was wrong, not the server"


def test_lines_of_a_file_are_whole(tmp_path: Path) -> None:
    exporters = [FileExporter(tmp_path / "deep" / "spans.jsonl") for _ in range(2)]
    provider = TracerProvider()
    for exporter in exporters:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for n in range(50):
        tracer.start_span(f"span {n}", attributes={"text": "x" * 5000}).end()
    provider.shutdown()
    names = [json.loads(line)["name"] for line in (tmp_path / "deep" / "spans.jsonl").read_text().splitlines()]
    assert sorted(names) == sorted(2 * [f"span {n}" for n in range(50)])
