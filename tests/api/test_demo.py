"""The demo on a small catalogue, as a process: every step real, and nothing done twice."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from api.demo import CHECKPOINT, Catalogue, instances_example
from api.instances import search_instances
from api.search import Searcher
from encoders import load
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.home import Home
from kg.sample import write_sample
from kg.settings import load_settings
from kg.stores import Stores, stop_stores
from tests.api.cli.run import answer
from tests.api.test_search import embed
from tests.tiny_encoder import write_tiny


@pytest.mark.slow
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


def test_the_products_of_a_scene_are_shown(stores: Stores, tmp_path: Path) -> None:
    """With its boxes where the encoder cannot find products; the command asks the same."""
    sample = write_sample(tmp_path / "sample", products=8)
    shelf = json.loads(sample.scenes.read_text(encoding="utf-8").splitlines()[0])
    columns = ColumnMap.load(sample.map)
    ingest(stores, sample.table, sample.images, columns)
    scene, boxes = sample.images / shelf["image"], tuple(tuple(found["box"]) for found in shelf["instances"])
    assert instances_example(stores, Catalogue(sample.table, sample.images, columns)) is None
    embed(stores, write_tiny(stores.home.models / CHECKPOINT))
    catalogue = Catalogue(sample.table, sample.images, columns, scene=scene, boxes=boxes)
    example = instances_example(stores, catalogue)
    assert example is not None
    reply = search_instances(Searcher(stores, load), example.request)
    assert [instance.box for instance in reply.instances] == list(boxes)
    command, name, *words = shlex.split(example.command)
    assert (command, name, words.count("--box")) == ("skugraph", "instances", len(boxes))
    asked = answer(name, *words, settings=stores.settings)
    assert asked["merged"] == reply.model_dump(mode="json")["merged"]

    write_tiny(stores.home.models / CHECKPOINT, detector=True)
    finding = instances_example(stores, catalogue)
    assert finding is not None
    assert (finding.request.boxes, "--box" in finding.command) == (None, False)
