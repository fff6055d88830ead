from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.offers import Listing, equal_titles, existing, from_folder, letters, main, pairs_of
from benchmarks.quality_answers import unit
from encoders.data import Split
from kg.errors import BadInput
from tests.tiny_encoder import write_tiny


def listing(id: str, identity: str, split: Split, title: str = "") -> Listing:
    return Listing(id, identity, title, split, None)


def test_pairs_are_those_of_one_split_with_all_but_the_other() -> None:
    listings = [
        listing("a", "x", "val"), listing("b", "x", "val"), listing("c", "y", "train"), listing("d", "z", "test"),
    ]  # fmt: skip
    table = unit(np.random.default_rng(3).standard_normal((4, 5)).astype(np.float32))
    found = pairs_of(listings, [table], "val", "test")
    cosines = table @ table.T
    expected = sorted([(cosines[0, 1], True), (cosines[0, 2], False), (cosines[1, 2], False)])
    assert found.there == 1
    shared = [*listings, listing("e", "x", "train"), listing("f", "x", "test")]
    assert existing(shared, "val", "test") == 3  # a-b, a-e, b-e
    assert sorted(zip(found.scores.tolist(), found.right.tolist(), strict=True)) == [
        (pytest.approx(float(score)), right) for score, right in expected
    ]
    other = table[::-1].copy()
    both = pairs_of(listings, [table, other], "val", "test")
    mean = (cosines + other @ other.T) / 2
    assert sorted(both.scores) == pytest.approx(sorted([mean[0, 1], mean[0, 2], mean[1, 2]]), abs=1e-6)


def test_equal_titles() -> None:
    listings = [
        listing("a", "x", "test", "Red  Cup"), listing("b", "x", "test", "red cup"),
        listing("c", "y", "train", "RED CUP"),
        listing("d", "x", "test", "mug"), listing("e", "x", "val", "red cup"),
    ]  # fmt: skip
    precision, recall = equal_titles(listings, "test", "val")
    assert precision == pytest.approx(100 / 3)  # a-b is right, a-c and b-c are not
    assert recall == pytest.approx(100 / 3)  # of a-b, a-d, b-d


def test_letters_of_any_language() -> None:
    rows = letters(["精华液30ml", "精华液 30ml", "洗面奶", "a"])
    assert rows[0] @ rows[1] > rows[0] @ rows[2]
    assert np.isfinite(rows).all()


def test_listings_of_the_same_labels_are_one_product(tmp_path: Path) -> None:
    rows = [
        {"split": "dev", "id": "1", "title": "t", "labels": "a#;#b"},
        {"split": "dev", "id": "2", "title": "t", "labels": "b#;#a#;#a"},
        {"split": "dev", "id": "3", "title": "t", "labels": ""},
    ]
    with (tmp_path / "items.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    task = from_folder(tmp_path, quick=False)
    assert [one.identity for one in task.listings] == ["a + b", "a + b"]
    assert task.kinds == ("text",)
    (tmp_path / "items.csv").write_text("a,b\n")
    with pytest.raises(BadInput, match="not of the layout of"):
        from_folder(tmp_path, quick=False)


def test_it_runs_on_the_sample(tmp_path: Path) -> None:
    out = tmp_path / "offers.json"
    seer = write_tiny(tmp_path / "tiny")
    assert main(["--quick", "--encoder", str(seer), "--out", str(out)]) == 0
    figures = {figure["name"]: figure["value"] for figure in json.loads(out.read_text())["figures"]}
    assert figures["listings of test"] > 0
    assert any("stated 95%" in name for name in figures)
