"""The overhead benchmark on a small catalogue: both ways give the same answers, and the file says so."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.overhead import main, questions


def test_both_ways_give_the_same_answers(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["--size", "300", "--asked", "6", "--out", str(out)]) == 0
    figures = {one["name"]: one for one in json.loads(out.read_text(encoding="utf-8"))["figures"]}
    assert figures["the same answer as the plain way"]["value"] == 1
    assert {"step select, p50", "step lexical, p50", "step results, p50", "step total, p50"} <= set(figures)
    searched = figures["REST hybrid search, p50"]
    assert searched["ratio"] == searched["value"] / searched["baseline"]
    assert searched["met"] == (searched["ratio"] <= 1.25)


def test_no_two_questions_are_alike() -> None:
    every = list(questions(500))
    assert len(set(every)) == 500
    assert every == list(questions(500))
    assert not set(every) & set(questions(500, seed=4))
