"""What the networks learn, and that the ways to compute it agree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import encoders
from encoders.graph import training
from encoders.graph.config import CONFIGS, GraphConfig, load_graph_config
from encoders.graph.data import EntityGraph
from encoders.graph.layers import GraphNetwork
from encoders.graph.messages import messages
from encoders.graph.training import alone, build, infer
from encoders.graph_encoder import GraphEncoder, task_of, train_graph_encoder
from kg.errors import BadInput, BadVector, NotFound

KINDS = sorted(path.stem for path in CONFIGS.glob("*.json"))


def config(name: str = "sage", epochs: int = 12, **changes: object) -> GraphConfig:
    """A small one; changes as model_hidden=8."""
    values = load_graph_config(name).model_dump()
    values["model"] |= {"hidden": 32, "dim": 16}
    values["training"] |= {"epochs": epochs, "others": 64, "rate": 0.01}
    for key, value in changes.items():
        part, _, field = key.partition("_")
        values[part][field] = value
    return GraphConfig.model_validate_json(json.dumps(values))


@pytest.mark.parametrize("name", KINDS)
def test_vectors_know_more_of_hidden_edges_than_texts_do(towns: EntityGraph, name: str) -> None:
    told: list[tuple[int, int]] = []
    encoder = train_graph_encoder(
        towns, config(name, epochs=30), device="cpu", on_progress=lambda done, of: told.append((done, of))
    )
    assert told == [(n + 1, 30) for n in range(30)]
    assert encoder.vectors.shape == (120, 16)
    np.testing.assert_allclose(np.linalg.norm(encoder.vectors, axis=1), 1, atol=1e-5)
    metrics = encoder.metrics
    assert metrics["graph"]["auc"] > metrics["text"]["auc"] + 0.1
    assert metrics["graph, visual edges"]["mrr"] > metrics["text, visual edges"]["mrr"]
    assert 0.3 < metrics["random"]["auc"] < 0.7
    assert metrics["text finds its entity"]["mrr"] > 0.2


def test_the_seed_decides_and_the_callers_random_state_stays(towns: EntityGraph) -> None:
    state = torch.random.get_rng_state()
    one = train_graph_encoder(towns, config(epochs=3), seed=1, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    again = train_graph_encoder(towns, config(epochs=3), seed=1, device="cpu")
    other = train_graph_encoder(towns, config(epochs=3), seed=2, device="cpu")
    assert one.fingerprint == again.fingerprint
    np.testing.assert_array_equal(one.vectors, again.vectors)
    assert other.fingerprint != one.fingerprint
    assert task_of(towns, one.config, 1) == one.task != other.task


@pytest.mark.parametrize("name", KINDS)
def test_layer_by_layer_in_parts_is_the_whole_at_once(
    towns: EntityGraph, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config(name, model_layers=3, training_fanouts=[2, 2, 2])
    network = build(chosen, 32).eval()
    passing = messages(*towns.merged(), 120, looped=name == "gcn")
    part, x = passing.whole(), torch.from_numpy(towns.features)
    with torch.no_grad():
        expected = network(x, torch.from_numpy(part.edges), torch.from_numpy(part.weights))
    monkeypatch.setattr(training, "ROWS", 17)
    found = infer(network, x, passing, device="cpu")
    np.testing.assert_allclose(found, torch.nn.functional.normalize(expected, dim=-1), atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_sampled_parts_teach_as_the_whole_does(towns: EntityGraph, name: str) -> None:
    sampled = config(name, epochs=20, training_full_edges=0, training_batch=32, training_fanouts=[4, 3])
    encoder = train_graph_encoder(towns, sampled, device="cpu")
    assert encoder.metrics["graph"]["auc"] > encoder.metrics["text"]["auc"] + 0.1
    again = train_graph_encoder(towns, sampled, device="cpu")
    assert again.fingerprint == encoder.fingerprint


@pytest.mark.parametrize("name", KINDS)
def test_a_text_alone_is_a_node_without_edges(towns: EntityGraph, name: str) -> None:
    network = build(config(name), 32).eval()
    none = np.empty((2, 0), np.int64), np.empty(0, np.float32)
    x = torch.nn.functional.normalize(torch.from_numpy(towns.features), dim=-1)
    isolated = infer(network, x, messages(*none, 120, looped=name == "gcn"), device="cpu")
    with torch.no_grad():
        np.testing.assert_allclose(alone(network, x).numpy(), isolated, atol=1e-5)


@pytest.mark.parametrize("loss", ["links", "adaptive", "features", "alone"])
def test_each_loss_falls_and_moves_the_network(towns: EntityGraph, loss: str) -> None:
    zeros = {f"losses_{name}": 0.0 for name in ("links", "adaptive", "features", "alone")}
    chosen = config("gcn", epochs=20, model_dropout=0.0, **{**zeros, f"losses_{loss}": 1.0, "adaptive_rounds": 1})
    encoder = train_graph_encoder(towns, chosen, device="cpu")
    assert encoder.history[-1][loss] < encoder.history[0][loss]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_entities_and_no_edges(name: str, count: int) -> None:
    none = np.empty((2, 0), np.int64), np.empty(0, np.float32), np.empty(0, np.int8)
    keys = [f"t:{n}" for n in range(count)]
    graph = EntityGraph(keys, ["t"] * count, np.eye(count, 32, dtype=np.float32), *none)
    encoder = train_graph_encoder(graph, config(name, epochs=2), device="cpu")
    assert np.isfinite(encoder.vectors).all()
    assert "graph" not in encoder.metrics


def test_loops_and_isolated_nodes_change_nothing(towns: EntityGraph) -> None:
    loops = np.tile(np.arange(120), (2, 1))
    more = replace(
        towns,
        edges=np.concatenate([towns.edges, loops], axis=1),
        weights=np.concatenate([towns.weights, np.ones(120, np.float32)]),
        sources=np.concatenate([towns.sources, np.zeros(120, np.int8)]),
    )
    np.testing.assert_array_equal(
        train_graph_encoder(towns, config(epochs=2), device="cpu").vectors,
        train_graph_encoder(more, config(epochs=2), device="cpu").vectors,
    )


def test_a_checkpoint_gives_the_same_vectors(towns: EntityGraph, tmp_path: Path) -> None:
    encoder = train_graph_encoder(towns, config("gat", epochs=2), device="cpu")
    encoder.save_pretrained(tmp_path / "e")
    again = encoders.load_graph_encoder(tmp_path / "e", device="cpu")
    assert (again.fingerprint, again.keys, again.types) == (encoder.fingerprint, encoder.keys, encoder.types)
    assert (again.name, again.dim, again.metrics, again.task) == ("gat", 16, encoder.metrics, encoder.task)
    np.testing.assert_array_equal(again.vectors, encoder.vectors)
    features = towns.features[:9]
    np.testing.assert_array_equal(again.encode_features(features), encoder.encode_features(features))
    assert again.encode_features(features[:0]).shape == (0, 16)
    with pytest.raises(BadVector, match=r"\(2, 7\).*\(M, 32\)"):
        again.encode_features(np.ones((2, 7), np.float32))


def test_broken_checkpoints_are_refused(towns: EntityGraph, trained_small: Path) -> None:
    with pytest.raises(NotFound):
        GraphEncoder.load(trained_small / "none")
    (trained_small / "entities.jsonl").write_text('["t:1", "t"]\n', encoding="utf-8")
    with pytest.raises(BadInput, match="1 entities and 120 vectors"):
        GraphEncoder.load(trained_small)
    values = json.loads((trained_small / "config.json").read_text(encoding="utf-8"))
    (trained_small / "config.json").write_text(json.dumps(values | {"encoder": "capture"}), encoding="utf-8")
    with pytest.raises(BadInput, match="'capture', not one of entities"):
        GraphEncoder.load(trained_small)


@pytest.fixture
def trained_small(towns: EntityGraph, tmp_path: Path) -> Path:
    train_graph_encoder(towns, config(epochs=1), device="cpu").save_pretrained(tmp_path / "small")
    return tmp_path / "small"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"kind": "gat", "hidden": 30, "dim": 8}}, "30 must be divisible by heads = 4"),
        ({"losses": {}}, "all losses are 0"),
        ({"model": {"kind": "gcn", "hidden": 8, "dim": 8, "layers": 3}}, "one for each of 3 layers"),
        ({"training": {"epochs": 0, "rate": 0.1}}, "training.epochs = 0"),
        ({"other": 1}, "other"),
    ],
)
def test_configs_that_do_not_fit_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    values = json.loads((CONFIGS / "sage.json").read_text(encoding="utf-8")) | changes
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        load_graph_config(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(BadInput):
        load_graph_config(path)


def test_configs_that_do_not_exist() -> None:
    for name in ("none", "../configs/sage", "none.json"):
        with pytest.raises(NotFound, match="gat, gcn, sage"):
            load_graph_config(name)


def test_networks_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"layers \(0\)"):
        GraphNetwork("gcn", inside=3, hidden=4, dim=2, layers=0)
    with pytest.raises(ValueError, match=r"hidden \(6\) divisible by heads \(4\)"):
        GraphNetwork("gat", inside=3, hidden=6, dim=2)
