from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.recommendations import Case, Knowledge, Room, cases, judged, main
from kg.records import Product
from tests.tiny_encoder import write_tiny


def product(id: str, series: str, category: str, colour: str = "red") -> Product:
    return Product(id=id, title=id, category=(category,), attributes=(("series", series), ("colour", colour)))


GALLERY = [
    product("a", "kura", "bed"), product("b", "kura", "lamp"), product("c", "kura", "bed", "blue"),
    product("d", "billy", "shelf", "blue"),
]  # fmt: skip


def test_halves_are_the_same_in_every_run_and_whole() -> None:
    rooms = [
        Room("r", (1, 2, 3, 4, 5), test=True),
        Room("small", (1, 2), test=True),
        Room("v", (1, 2, 3, 4), test=False),
    ]
    found = cases(rooms, test=True)
    assert {case.room for case in found} == {"r"}
    for case, again in zip(found, cases(rooms, test=True), strict=True):
        assert sorted([*case.asked, *case.wanted]) == [1, 2, 3, 4, 5]
        assert len(case.asked) == 2
        assert (case.asked == again.asked).all()
    assert len({tuple(case.asked) for case in found}) > 1


def test_the_graph_scores_what_shares_and_puts_other_categories_first() -> None:
    known = Knowledge(GALLERY)
    assert sum(map(len, known.related.values())) % 2 == 0
    asked = np.array([0])
    same = known.scores(asked, 0.0, other=False)
    assert same[0] == same[3] == 0  # what was asked with, and what shares nothing
    assert same[1] == 1.0  # series and colour
    assert 0 < same[2] < 1
    other = known.scores(asked, 0.0)
    assert (other[1], other[3]) == (1.0, 0.0)
    assert other[2] < 0


def test_what_was_asked_with_is_not_counted() -> None:
    case = Case("r", np.array([0]), np.array([2]))
    scores = np.array([9.0, 1.0, 5.0, 3.0])
    found = judged([case], lambda asked: scores)
    assert {name: some.tolist() for name, some in found.items()} == {"R@10": [100], "nDCG@10": [100], "mAP": [100]}


def test_it_runs_on_the_sample(tmp_path: Path) -> None:
    out = tmp_path / "recommendations.json"
    seer = write_tiny(tmp_path / "tiny")
    assert main(["--quick", "--encoder", str(seer), "--out", str(out)]) == 0
    names = {figure["name"] for figure in json.loads(out.read_text())["figures"]}
    assert {"graph: nDCG@10", "random: mAP", "content, picture: R@10", "graph and content: nDCG@10"} <= names
