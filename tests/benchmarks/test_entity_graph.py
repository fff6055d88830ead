from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import entity_graph
from benchmarks.entity_graph import Measured, exponent, figures, measure, mentions, vectors
from benchmarks.figures import write_figures


def test_vectors_are_the_same_each_time_and_in_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_graph, "CHUNK", 90)
    rows = np.array(vectors(200, tmp_path / "a"))
    np.testing.assert_array_equal(rows, vectors(200, tmp_path / "b"))
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    cosines = np.sort(rows @ rows.T, axis=1)
    assert (cosines[:, -2] > 0.6).mean() > 0.9, "also with a vector of another chunk"


def test_products_name_each_entity_once_and_some_very_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_graph, "CHUNK", 300)
    found = mentions(500)
    assert len(found.starts) == 1001
    assert found.starts[-1] == len(found.entities)
    named = [found.entities[a:b].tolist() for a, b in zip(found.starts, found.starts[1:], strict=False)]
    assert all(len(set(product)) == len(product) for product in named)
    assert found.frequencies.max() > 20 * np.median(found.frequencies)


def test_the_exponent_is_the_slope() -> None:
    assert exponent([10, 100, 1000], [3, 300, 30_000]) == pytest.approx(2)


def test_what_is_said_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_graph, "BRUTE_FORCE", 200)
    runs = [measure(size, 0) for size in (200, 400)]
    write_figures(list(figures(runs)), tmp_path / "out.json")
    said = {figure["name"]: figure for figure in json.loads((tmp_path / "out.json").read_text())["figures"]}
    assert said["200 entities: recall@10 of exact neighbours"]["value"] == 1
    assert said["200 entities: neighbours of the vectors"]["baseline"] > 0
    assert said["400 entities: neighbours of the vectors"]["baseline"] is None
    assert said["400 entities: edges by vectors"]["value"] > 400
    assert said["400 entities: edges by co-occurrence"]["value"] > 100
    assert "400 entities: edges written into the graph" not in said
    assert "growth exponent, 200 to 400 entities" in said
    assert not [name for name in (figure.name for figure in figures(runs[:1])) if "growth" in name]


def test_a_goal_is_missed_where_time_grows_faster() -> None:
    runs = []
    for size, seconds in ((100, 1.0), (1000, 20.0)):
        run = Measured(size, counts={"recall": 0.9, "peak": 1.0, "changed": 1})
        run.counts |= {"edges by vectors": 1, "edges by co-occurrence": 1}
        run.wall = {"neighbours": seconds, "cooccurrence": 0.0, "pairs": 0.0, "update": 0.1}
        run.cpu = dict(run.wall)
        runs.append(run)
    found = {figure.name: figure for figure in figures(runs)}
    assert found["growth exponent, 100 to 1,000 entities"].met is False
    assert found["growth exponent of peak memory, 100 to 1,000 entities"].met
    assert found["100 entities: recall@10 of exact neighbours"].met is False
