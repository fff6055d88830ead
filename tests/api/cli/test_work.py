"""train, embed, relate, eval, promote from the command line, with a real worker process that it starts itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.evaluation import trec
from kg.sample import write_sample
from kg.stores import Stores
from tests.api.cli.run import answer, skugraph
from tests.conftest import wipe
from workers.process import workers_alive

pytestmark = pytest.mark.slow


def test_from_ingest_to_measured_searches(embedded: Stores, tmp_path: Path) -> None:
    wipe(embedded)
    settings = embedded.settings
    sample = write_sample(tmp_path / "sample", products=24)
    answer("ingest", sample.table, "--images", sample.images, "--map", sample.map, settings=settings)
    listings = embedded.graph.read("MATCH (p:Product) RETURN count(p) AS n")[0]["n"]

    checkpoint = tmp_path / "encoder"
    tiny = ("--config", "clip_style_tiny", "--epochs", 1)
    trained = answer("train", "clip_style", "--out", checkpoint, *tiny, settings=settings)
    assert (trained["epochs"], trained["unchanged"]) == (1, False)
    assert answer("train", "clip_style", "--out", checkpoint, *tiny, settings=settings)["unchanged"]

    queued = answer("relate", "--no-wait", settings=settings)
    assert queued["state"] == "queued"
    assert workers_alive(settings) == []
    embedded_job = answer("embed", "--encoder", checkpoint, settings=settings)
    assert (embedded_job["state"], embedded_job["done"], embedded_job["rejected"]) == ("done", listings, 0)
    assert answer("relate", settings=settings)["state"] == "done"
    assert workers_alive(settings) == []  # the worker left with the command
    assert {job["state"] for job in answer("jobs", settings=settings)} == {"done"}
    assert answer("jobs", queued["id"], settings=settings)["kind"] == "relate"
    assert skugraph("jobs", queued["id"], "--cancel", settings=settings).returncode == 1

    [generation] = answer("generations", settings=settings)
    assert (generation["state"], generation["stale"], generation["id"]) == ("live", 0, embedded_job["generation"])
    assert answer("promote", generation["id"], settings=settings)["state"] == "live"
    assert skugraph("promote", "gnone", settings=settings).returncode == 2

    run = tmp_path / "out.run"
    judged = ("--queries", sample.queries, "--qrels", sample.qrels)
    report = answer("eval", *judged, "--use", "text", "--run", run, "-k", 20, settings=settings)
    assert report["generation"] == generation["id"]
    assert report["metrics"] == trec.judge(trec.read_qrels(sample.qrels), trec.read_run(run))
    assert report["metrics"]["hit@10"] > 0.5  # the words of a query name its product
    faults = json.loads(skugraph("doctor", "--json", settings=settings).stdout)["faults"]
    assert [fault for fault in faults if "was healed" not in fault] == []  # other tests kill this home's servers
    missing = skugraph("embed", "--encoder", tmp_path / "none", settings=settings)
    assert missing.returncode == 2
    assert "skugraph train" in missing.stderr
