"""The benchmarks of filtered search: what they compare finds the same, and what they say is what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import filtered, traversal
from benchmarks.filtered import OURS, Cell, figures
from benchmarks.filtered_systems import Catalogue, copy_alone, faiss_hnsw, numpy_inside, numpy_scan
from kg.graph.edges import Edges
from kg.scale import Scale

K = 10


def test_exact_ways_find_the_truth_and_a_graph_index_most_of_it(tmp_path: Path) -> None:
    catalogue = Catalogue(Scale(600, dim=16))
    ways = {
        "copy": copy_alone(catalogue, tmp_path / "copy", K),
        "numpy": numpy_scan(catalogue, K),
        "numpy, filter first": numpy_inside(catalogue, K),
    }
    near = faiss_hnsw(catalogue, K)
    for query in catalogue.scale.queries(4):
        for share in (0.01, 0.3, 1.0):
            price = catalogue.below(share)
            truth = catalogue.nearest(query, price, K)
            assert len(truth) == min(K, int((catalogue.prices <= price).sum()))
            for name, way in ways.items():
                assert way(query, price) == truth, name
            assert set(near(query, price)) <= {catalogue.ids[at] for at in np.flatnonzero(catalogue.prices <= price)}


def test_a_share_keeps_that_share() -> None:
    catalogue = Catalogue(Scale(500, dim=4), drawn=True)
    for share in (0.002, 0.1, 1.0):
        assert (catalogue.prices <= catalogue.below(share)).mean() == pytest.approx(share, abs=0.01)


def test_figures_compare_with_who_reaches_the_recall() -> None:
    def cell(way: str, recall: float, p50: float) -> Cell:
        return Cell(way, 1.0, recall, p50, 2 * p50, p50, 1.0, 5, 0.0)

    found = [cell(OURS, 1.0, 4.0), cell("faiss HNSW", 0.5, 1.0), cell("numpy", 1.0, 8.0), cell("exact alone", 1.0, 2.0)]
    recall, p50, cpu, p95 = figures(found, 1000, OURS, 5.0)
    assert recall.met is True
    assert "numpy" in p50.name
    assert p50.ratio == cpu.ratio == 0.5
    assert (p95.met, p95.baseline) == (True, 5.0)
    assert figures(found, 1000, OURS, 3.9)[-1].met is False  # 8 ms
    assert figures([cell(OURS, 0.9, 4.0)], 1000, OURS, 5.0)[0].met is False


def test_near_walks_as_many_hops_as_asked() -> None:
    ends = (np.array([0, 1, 2]), np.array([1, 2, 3]))
    edges = Edges("text", ["a", "b", "c", "d"], ends, np.ones(3, np.float32), generation="g")
    assert traversal.near(edges, ["a"], 0) == {"a"}
    assert traversal.near(edges, ["a"], 2) == {"a", "b", "c"}
    assert traversal.near(edges, ["d", "elsewhere"], 1) == {"c", "d", "elsewhere"}


@pytest.mark.parametrize("module", [filtered, traversal])
def test_the_copy_alone_is_measured(module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    monkeypatch.setattr(
        sys, "argv", ["x", "--copy-only", "--quick", "--size", "1200", "--asked", "2", "--out", str(out)]
    )
    module.main()  # type: ignore[attr-defined]
    document = json.loads(out.read_text())
    assert document["machine"]["cores"]
    assert all(figure["value"] > 0 for figure in document["figures"])
