"""Entity vectors by a graph encoder, step by step, on both graph engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import encoders
from encoders import graph_encoder
from encoders.graph.config import CONFIGS
from kg import entity_vectors
from kg.errors import BadInput, NotFound
from kg.home import Home
from kg.stores import Stores
from workers import entity_graph
from workers.jobs import Job, get_job, move, pause, resume, submit_gnn
from workers.tasks import gnn, step
from workers.tasks.gnn import gnn_step

ENTITIES = ["colour:navy blue", "colour:ocean", "material:steel", "scent:vanilla", "brand:aurora", "phrase:aurora"]
EDGE = """
MATCH (a:Entity {key: $a}) MATCH (b:Entity {key: $b})
CREATE (a)-[:SIMILAR_TO {weight: $weight, source: $source, generation: 'x'}]->(b)
"""


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    """Six entities; navy blue and ocean are similar for two reasons, ocean and vanilla for one."""
    home = Home(tmp_path / "home").create()
    found = Stores(stores.settings.model_copy(update={"home": home.root}), stores.graph, stores.vectors_uri)
    for key in ENTITIES:
        found.graph.write("CREATE (:Entity {key: $key, text: $text})", key=key, text=key.partition(":")[2])
    connect(found, "colour:navy blue", "colour:ocean", 0.7, "text")
    connect(found, "colour:navy blue", "colour:ocean", 0.3, "cooccurrence")
    connect(found, "colour:ocean", "scent:vanilla", 0.4, "cooccurrence")
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A training of a moment."""
    values = json.loads((CONFIGS / "sage.json").read_text(encoding="utf-8"))
    values["model"] |= {"hidden": 32, "dim": 16}
    values["training"]["epochs"] = 3
    path = tmp_path / "quick.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def connect(stores: Stores, a: str, b: str, weight: float | None, source: str) -> None:
    stores.graph.write(EDGE, a=a, b=b, weight=weight, source=source)


def run(stores: Stores, config: Path, *, seed: int = 0) -> Job:
    job = submit_gnn(stores, config, seed=seed)
    step(stores, job.id, gnn_step)
    return get_job(stores, job.id)


def test_the_graph_is_exported_as_it_is(stores: Stores) -> None:
    stores.graph.write("CREATE (:Entity {key: 'note:empty'})")  # no text
    told: list[tuple[int, int]] = []
    graph = entity_graph.export(stores, lambda done, total: told.append((done, total)))
    assert list(graph.keys) == sorted([*ENTITIES, "note:empty"])
    assert graph.types[0] == "brand"
    assert graph.features.shape == (7, 384)
    assert graph.names == ("cooccurrence", "text")
    found = sorted(
        (graph.keys[a], graph.keys[b], round(float(weight), 3), graph.names[source])
        for (a, b), weight, source in zip(graph.edges.T, graph.weights, graph.sources, strict=True)
    )
    assert found == [
        ("colour:navy blue", "colour:ocean", 0.3, "cooccurrence"),
        ("colour:navy blue", "colour:ocean", 0.7, "text"),
        ("colour:ocean", "scent:vanilla", 0.4, "cooccurrence"),
    ]
    assert told == [(7, 7)]


def test_vectors_are_written_once_and_texts_find_their_entities(
    stores: Stores, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.graph.write("CREATE (:Counter {name: 'edges', value: 7})")
    job = run(stores, config)
    assert (job.state, job.error, job.done, job.total, job.cursor) == ("done", "", 6, 6, 7)
    live = entity_vectors.live(stores)
    assert live is not None
    assert live.collection == f"skugraph_entities_{job.generation}"
    assert entity_vectors.staleness(stores) == entity_vectors.Staleness(6, 0, 0, 0)
    encoder = encoders.load_graph_encoder(live.encoder_path, device="cpu")
    assert encoder.fingerprint == live.fingerprint
    hits = entity_vectors.nearest(stores, encoder.encode_texts(["vanilla", "steel", "aurora"]), k=6)
    assert [hits[0][0][0], hits[1][0][0]] == ["scent:vanilla", "material:steel"]
    assert {key for key, _ in hits[2][:2]} == {"brand:aurora", "phrase:aurora"}
    [stored] = entity_vectors.nearest(stores, encoder.vectors[:1], k=1)
    assert stored == [(encoder.keys[0], pytest.approx(1, abs=1e-5))]

    monkeypatch.setattr(entity_vectors, "write", lambda *_, **__: pytest.fail("nothing changed"))
    monkeypatch.setattr(graph_encoder, "train", lambda *_, **__: pytest.fail("nothing changed"))
    assert run(stores, config).state == "done"
    stores.graph.write("MATCH (c:Counter {name: 'edges'}) SET c.value = 8")
    stores.graph.write("MATCH (e:Entity {key: 'brand:aurora'}) SET e.edges_at = 8")  # an edge came and went
    assert entity_vectors.is_stale(stores, "brand:aurora")
    run(stores, config)
    assert not entity_vectors.is_stale(stores, "brand:aurora")


def test_another_graph_or_seed_gives_other_vectors_and_the_old_ones_go(stores: Stores, config: Path) -> None:
    first = run(stores, config).generation
    assert run(stores, config, seed=1).generation != first
    connect(stores, "brand:aurora", "phrase:aurora", 1.0, "text")
    latest = run(stores, config).generation
    assert stores.vectors.collections() == [f"skugraph_entities_{latest}"]
    folders = list(stores.home.models.glob("entities-*"))
    assert len(folders) == gnn.KEPT
    live = entity_vectors.live(stores)
    assert live is not None
    assert Path(live.encoder_path) in folders


@pytest.mark.parametrize("where", ["train", "write", "mark"])
def test_stopped_anywhere_and_run_again_is_the_same(
    stores: Stores, config: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(stores, config).generation
    connect(stores, "brand:aurora", "phrase:aurora", 1.0, "text")

    def killed(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(graph_encoder if where == "train" else entity_vectors, where, killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(stores, config)
    live = entity_vectors.live(stores)
    assert live is not None
    assert (live.fingerprint[:10] == expected) == (where != "mark"), "the alias moves when the rows are there"
    job = run(stores, config)
    assert job.state == "done"
    assert entity_vectors.staleness(stores) == entity_vectors.Staleness(6, 0, 0, 0)
    encoder = encoders.load_graph_encoder(entity_vectors.live(stores).encoder_path)  # type: ignore[union-attr]
    monkeypatch.undo()
    again = graph_encoder.train_graph_encoder(entity_graph.export(stores), config, device="cpu")
    np.testing.assert_array_equal(again.vectors, encoder.vectors)


def test_a_paused_job_stops_between_epochs(stores: Stores, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gnn, "LOOK_S", 0.0)
    job = submit_gnn(stores, config)
    original = gnn.export

    def exported(stores: Stores, look: object) -> object:
        graph = original(stores)
        pause(stores, job.id)
        return graph

    monkeypatch.setattr(gnn, "export", exported)
    step(stores, job.id, gnn_step)
    assert get_job(stores, job.id).state == "paused"
    assert entity_vectors.live(stores) is None
    monkeypatch.setattr(gnn, "export", original)
    resume(stores, job.id)
    step(stores, job.id, gnn_step)
    assert get_job(stores, job.id).state == "done"


@pytest.mark.parametrize(("a", "weight"), [("brand:aurora", None), ("brand:aurora", float("nan"))])
def test_weights_that_are_no_numbers_are_named(stores: Stores, a: str, weight: float | None) -> None:
    connect(stores, a, "scent:vanilla", weight, "text")
    with pytest.raises(BadInput, match=r"'brand:aurora' and 'scent:vanilla'.*skugraph relate"):
        entity_graph.export(stores)


def test_no_entities_one_entity_no_edges(stores: Stores, config: Path) -> None:
    stores.graph.write("MATCH (e:Entity) WHERE e.key <> 'brand:aurora' DETACH DELETE e")
    assert run(stores, config).done == 1
    stores.graph.write("MATCH (e:Entity) DETACH DELETE e")
    job = submit_gnn(stores, config)
    with pytest.raises(BadInput, match="no entities"):
        step(stores, job.id, gnn_step)
    assert "skugraph ingest" in get_job(stores, job.id).error


def test_an_entity_vanishes_between_export_and_write(
    stores: Stores, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = gnn.export

    def exported(*args: object) -> object:
        graph = original(*args)  # type: ignore[arg-type]
        stores.graph.write("MATCH (e:Entity {key: 'scent:vanilla'}) DETACH DELETE e")
        return graph

    monkeypatch.setattr(gnn, "export", exported)
    assert run(stores, config).state == "done"
    assert entity_vectors.staleness(stores) == entity_vectors.Staleness(5, 0, 0, 1)


def test_configs_that_do_not_exist_or_fit_are_refused(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'none' does not exist"):
        submit_gnn(stores, "none")
    (tmp_path / "bad.json").write_text('{"model": {"kind": "gnu"}}', encoding="utf-8")
    with pytest.raises(BadInput, match=r"model\.kind"):
        submit_gnn(stores, tmp_path / "bad.json")
    job = submit_gnn(stores, "gat", seed=3)
    assert submit_gnn(stores, "gat", seed=3).id == job.id
    assert submit_gnn(stores, "gat", seed=4).id != job.id
    move(stores, job.id, ["queued"], "cancelled")
