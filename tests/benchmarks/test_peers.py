from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import K, Measured, World, figures, ours, table, theirs
from kg.scale import Scale, load
from kg.stores import Stores

WORLD = World.of(Scale(400, dim=16, shares=(0.05, 0.5)), 6)


def nearest(share: float, count: int) -> list[list[str]]:
    inside = np.flatnonzero(WORLD.luck < share)
    cosines = WORLD.vectors[inside] @ WORLD.questions.T
    return [[WORLD.ids[inside[at]] for at in np.argsort(-cosines[:, q])[:count]] for q in range(len(WORLD.questions))]


def test_recall_counts_what_is_right_and_returned_what_is_there() -> None:
    assert WORLD.recall(Measured("x", 0.5, [1.0] * 6, nearest(0.5, K))) == (1, 1)
    assert WORLD.recall(Measured("x", 0.5, [1.0] * 6, nearest(0.5, K // 2))) == (0.5, 0.5)
    outside = [id for id, luck in zip(WORLD.ids, WORLD.luck, strict=True) if luck >= 0.5][:K]
    assert WORLD.recall(Measured("x", 0.5, [1.0] * 6, [outside] * 6)) == (0, 1)
    twice = [[id for id in ids for _ in range(2)][:K] for ids in nearest(0.5, K)]
    assert WORLD.recall(Measured("x", 0.5, [1.0] * 6, twice)) == (0.5, 1)


def test_ours_is_held_against_the_best_peer_that_finds_as_much() -> None:
    def row(who: str, qps: float, recall: float) -> dict[str, object]:
        return {"who": who, "kept": 0.5, "plan": "", "qps": qps, "recall": recall, "returned": 1.0}

    rows = [row("skugraph, embedded", 100, 1.0), row("quick and wrong", 90, 0.8), row("slow", 9, 1.0)]
    [figure] = figures(rows)
    assert (figure.value, figure.baseline, figure.met) == (100, 9, True)
    assert figures([row("skugraph, embedded", 80, 1.0), row("slow", 9, 1.0)])[0].met is False
    assert figures([row("skugraph, embedded", 100, 0.9), row("slow", 9, 1.0)])[0].met is False
    assert figures([row("skugraph, embedded", 100, 1.0)])[0].met is None


def test_ours_finds_all_and_missing_peers_are_said(
    stores: Stores, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load(stores, WORLD.scale)
    rows = table(WORLD, list(ours(stores, WORLD, 60, "skugraph")))
    assert [(row["kept"], row["recall"], row["returned"]) for row in rows] == [(0.05, 1, 1), (0.5, 1, 1)]
    assert all(row["plan"] and row["questions"] == 6 for row in rows)
    bare = tmp_path / "python"  # without site packages there are no peers, nor numpy
    bare.write_text('#!/bin/sh\necho \'{"peer": "nobody", "missing": "no such package"}\'\n')
    bare.chmod(0o755)
    assert theirs(str(bare), tmp_path, WORLD, {"kind": "milvus"}, 1) == []
    assert "nobody: no such package" in capfd.readouterr().err
