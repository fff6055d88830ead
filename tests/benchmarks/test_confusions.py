from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.confusions import Case, Questions, cases, draw, figures, first_of
from encoders.data import TrainItem


def asked() -> Questions:
    colours = ["red", "green", "blue", "red"]
    items = [
        TrainItem(str(n), str(n), f"cup {colour}", lambda colour=colour: Image.new("RGB", (8, 8), colour))
        for n, colour in enumerate(colours)
    ]
    relevant = np.eye(4, dtype=bool)
    relevant[0, 3] = relevant[3, 0] = True
    fields = [{"brand": "a", "colour": colour} for colour in colours]
    fields[2].pop("brand")
    return Questions(items, relevant, fields)


def test_removed_and_new_cases_and_the_fields_they_differ_in() -> None:
    a, b = np.array([1, 1, 0, 3]), np.array([3, 0, 0, 2])
    assert cases(asked(), a, b) == [
        Case(0, (1, 3), True, ("colour",)),  # picture 3 shows the same product
        Case(1, (1, 0), False, ("colour",)),
        Case(3, (3, 2), False, ("colour",)),  # of which brand picture 2 is nobody says
    ]
    found = {figure.name: figure for figure in figures(asked(), [(a, b), (a, a)])}
    assert found["confusions removed"].value == 12.5  # a quarter in one run, none in the other
    assert found["confusions new"].value == 25
    assert found["first picture wrong with B, beside A"].baseline == 50
    assert found["first picture wrong with B, beside A"].value == 62.5
    assert found["wrong first pictures of another colour, with B beside A"].baseline == 100
    assert json.dumps([figure.value for figure in found.values()])


def test_a_tie_is_no_find() -> None:
    """Pictures that score the same say nothing of which is meant; what stands first in the table must not decide."""
    scores = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 2, 2], [1, 0, 0, 1]], np.float32)
    first = first_of(scores, asked().relevant)
    assert first.tolist() == [1, 1, 3, 0]  # 0 and 3 are both right for the last
    assert asked().relevant[np.arange(4), first].tolist() == [False, True, False, True]


def test_the_picture_shows_both_kinds(tmp_path: Path) -> None:
    a, b = np.array([1, 1, 2, 3]), np.array([0, 0, 2, 3])
    found = cases(asked(), a, b)
    draw(asked(), found, ("one", "other"), tmp_path / "docs" / "cases.png")
    with Image.open(tmp_path / "docs" / "cases.png") as image:
        assert image.height > image.width / 4
