"""The demo on a small catalogue, as a process: every step real, and nothing done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg.home import Home
from kg.sample import write_sample
from kg.settings import load_settings
from kg.stores import stop_stores
from tests.api.cli.run import answer

pytestmark = pytest.mark.slow


def test_a_second_demo_changes_nothing(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", graph_heap="512m")
    sample = write_sample(tmp_path / "sample", products=24)
    words = ("demo", "--data", sample.table, "--images", sample.images, "--map", sample.map, "--no-serve")
    try:
        first = answer(*words, settings=settings)
        before = answer("generations", settings=settings)
        second = answer(*words, settings=settings)
        after = answer("generations", settings=settings)
    finally:
        stop_stores(Home(settings.home))
    assert [step["step"] for step in first["steps"]] == ["ingest", "relate", "train", "embed"]
    assert first["first_result_s"] > 0
    assert [search["title"] for search in first["searches"]][:2] == ["by words", "like a product"]
    assert {"of one brand", "in one category", "near an entity"} <= {search["title"] for search in first["searches"]}
    for search in first["searches"]:
        hits = search["reply"]["hits"]
        assert hits, search["command"]
        assert all(hit["reason"] for hit in hits)
    said = {step["step"]: step["said"] for step in second["steps"]}
    assert "0 written, 0 updated" in said["ingest"]
    assert all("already" in said[step] for step in ("relate", "train", "embed"))
    assert [s["reply"]["hits"] for s in first["searches"]] == [s["reply"]["hits"] for s in second["searches"]]
    assert before == after
