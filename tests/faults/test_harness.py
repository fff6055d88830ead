"""The harness itself: would it see what it is there to see?"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cheap import Cheap, load_encoder, write_cheap
from benchmarks.faults.load import Reply, judge
from benchmarks.faults.shop import Shop
from benchmarks.faults.soak import Contents, Report, compare
from kg.feed import changes
from kg.stores import Stores

RIGHT = {"g1": [["a", "b"], ["c", "d"]], "g2": [["b", "a"], ["d", "c"]]}


def reply(**values: object) -> Reply:
    found = {"at": 5.0, "seconds": 1.0, "ask": 0, "status": 200, "generation": "g1", "requested": 2, "returned": 2}
    return Reply(**{**found, "ids": ("a", "b"), **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, ""),
        ({"generation": "g2", "ids": ("b", "a")}, ""),
        ({"ask": 1, "ids": ("c", "d")}, ""),
        ({"generation": "g2"}, "mixed"),
        ({"ask": 1}, "mixed"),
        ({"generation": "g3"}, "mixed"),
        ({"returned": 1, "ids": ("a",)}, "short"),
        ({"status": 503, "error": "away"}, "failed"),
        ({"status": 0, "error": "refused"}, "failed"),
        ({"status": 0, "error": "refused", "at": 9.5}, "cut"),
        ({"status": 500, "error": "a bug", "at": 9.5}, "failed"),
    ],
)
def test_what_becomes_of_a_reply(values: dict[str, object], fault: str) -> None:
    found = judge([reply(**values)], RIGHT, lambda since, until: since <= 10 <= until)
    counts = {name: getattr(found, name) for name in ("cut", "failed", "short", "mixed")}
    assert counts == dict.fromkeys(counts, 0) | ({fault: 1} if fault else {})
    assert found.fine == (fault in ("", "cut"))
    report = Report(searches=found)
    assert report.clean == found.fine


def test_what_differs_between_two_collections() -> None:
    vector = np.ones(3, np.float32)
    rows = {name: ("hash", 1, vector) for name in "abcde"}
    same = compare(Contents(rows, []), Contents(dict(rows), []))
    assert (same.none, same.rows, same.furthest) == (True, 5, 0.0)
    changed = {**rows, "b": ("other", 1, vector), "c": ("hash", 2, vector), "d": ("hash", 1, vector + 1e-3)}
    changed["e"] = ("hash", 1, vector + 1e-7)
    del changed["a"]
    changed["f"] = ("hash", 1, vector)
    found = compare(Contents(changed, ["c"]), Contents(rows, []))
    assert (found.lost, found.surplus, found.doubled, found.other) == (["a"], ["f"], ["c"], ["b", "c", "d"])
    assert not Report(differences={"g1 text": found}).clean
    assert not Report(lost_changes=["s1"]).clean
    assert not Report(faults={"missing": 1}).clean
    assert not Report(jobs_failed=["embed-1"]).clean


def test_the_shop_sees_what_the_graph_lost(stores: Stores, tmp_path: Path) -> None:
    shop = Shop(tmp_path, 20, pictures=4)
    shop.ingest(stores)
    assert shop.lost(stores) == []
    assert len(changes(stores.graph, 0, 100)) == 20
    shop.change(3, random.Random(1))
    changed = sorted(f"s{number}" for number in shop.editions)
    assert all(int(name[1:]) % 2 for name in changed), "what searches ask about stays"
    assert shop.lost(stores) == changed
    shop.ingest(stores)
    assert shop.lost(stores) == []
    assert len(changes(stores.graph, 20, 100)) == 3
    asked = Counter(name for ask in shop.asks(9) for name in ask)
    assert (asked["text"], asked["like"], asked["filters"]) == (6, 3, 9)


def test_the_cheap_encoder_is_what_its_checkpoint_says(tmp_path: Path) -> None:
    encoder = load_encoder(write_cheap(tmp_path / "one", seed=5, dim=16, words=8))
    assert (
        encoder.fingerprint
        == (tmp_path / "one" / "fingerprint").read_text()
        == Cheap(seed=5, dim=16, words=8).fingerprint
    )
    assert encoder.fingerprint != Cheap(seed=6, dim=16, words=8).fingerprint
    np.testing.assert_allclose(np.linalg.norm(encoder.encode_texts(["a jar", "a lamp"]), axis=1), 1, atol=1e-6)
