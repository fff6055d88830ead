"""The doctor finds what is wrong, says what to do, and leaves the rest to be seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from api.doctor import Report, examine
from kg import entity_vectors
from kg.settings import load_settings
from kg.stores import Stores
from tests.api.test_search import embed
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.jobs import move, submit_relate


def fault(report: Report, *words: str) -> str:
    """The one fault that has all these words."""
    [found] = [line for line in report.faults if all(word in line for word in words)]
    return found


def part(report: Report, name: str) -> tuple[str, ...]:
    return next(check.row() for check in report.checks if check.part == name)


def test_an_empty_home_stays_empty(tmp_path: Path) -> None:
    report = examine(load_settings(home=tmp_path / "home"))
    assert "skugraph demo" in fault(report, "this home is empty")
    assert not (tmp_path / "home").exists()


def test_a_graph_that_is_down_is_named(embedded: Stores) -> None:
    report = examine(embedded.settings.model_copy(update={"graph_uri": "bolt://127.0.0.1:1"}))
    assert "bolt://127.0.0.1:1 does not answer" in fault(report, "graph")
    assert part(report, "graph")[1] == "down"
    assert part(report, "worker")
    assert not report.document()["ok"]


def test_a_healthy_shop_and_what_can_befall_it(stores: Stores, tmp_path: Path) -> None:
    checkpoint = write_tiny(tmp_path / "tiny")
    put(stores.graph, "p1", title="Green bottle", pictures=[draw(tmp_path / "1.png", 1)])
    generation = embed(stores, checkpoint)
    report = examine(stores.settings)
    assert [line for line in report.faults if "was healed" not in line] == []  # other tests kill these servers
    assert part(report, "graph")[4].startswith("1 Product, 1 Image, 2 Instance")
    assert part(report, "generation")[4].startswith("1 image, 1 text")

    put(stores.graph, "p2", title="Blue jar")
    assert f"skugraph embed --encoder {checkpoint}" in fault(examine(stores.settings), "1 changes are not embedded")
    embed(stores, checkpoint)
    stores.vectors.delete_products(generation.collections(stores.vectors.prefix)["text"], ["p1"])
    assert fault(examine(stores.settings), "1 text instances have no vector")
    shutil.rmtree(checkpoint)
    assert str(checkpoint) in fault(examine(stores.settings), "its encoder", "is gone")

    job = submit_relate(stores)
    assert "skugraph up" in fault(examine(stores.settings), "jobs: 1 are open and no worker runs")
    move(stores, job.id, ("queued",), "failed", error="no room")
    assert f"skugraph jobs {job.id} --resume" in fault(examine(stores.settings), "failed: no room")


def test_entity_vectors_grow_old(stores: Stores, tmp_path: Path) -> None:
    assert part(examine(stores.settings), "entity vectors")[1].startswith("none")
    keys = ["colour:green", "colour:blue"]
    for key in keys:
        stores.graph.write("CREATE (:Entity {key: $key, text: $key})", key=key)
    vectors = np.eye(2, 4, dtype=np.float32)
    given = {"fingerprint": "f" * 64, "keys": keys, "types": ["colour"] * 2, "vectors": vectors, "edges_at": 1}
    entity_vectors.write(stores, encoder_path=tmp_path, **given)
    report = examine(stores.settings)
    assert part(report, "entity vectors")[1:] == ("live", str(tmp_path), "4-d", "0 of 2 entities stale")
    assert not [line for line in report.faults if "entity vectors" in line]
    stores.graph.write("MATCH (e:Entity {key: 'colour:green'}) SET e.edges_at = 2")
    assert "`skugraph gnn`" in fault(examine(stores.settings), "entity vectors: 1 of 2 entities stale")
    stores.graph.write("MATCH (e:Entity {key: 'colour:blue'}) DETACH DELETE e")
    assert part(examine(stores.settings), "entity vectors")[4].endswith("1 vectors of entities that are gone")
    tmp_path.rmdir()
    assert fault(examine(stores.settings), "entity vectors: their encoder", "is gone")
