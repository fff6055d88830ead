"""Arrays against plain Python: what is admitted, what is near, and the folder that holds the same."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.conditions import All, AnyOf, Condition, Leaf, Not, holds
from kg.errors import BadVector
from kg.vectors import resident_rows
from kg.vectors.resident_files import gathered, mapped, scanned_bytes, write
from kg.vectors.resident_rows import Rows

DIM = 6
LONG = "brand:" + "x" * 400  # the store keeps a head and a hash of it
BRANDS = ["brand:a", 'brand:o\'n "x"', "brand:名前", ""]
SELLERS = ["shop", "Licht & Co", ""]
CATEGORIES = ["category:home", "category:home > soap", "category:toys"]
ENTITIES = ["colour:red", "colour:blue", "size:xl"]


def rows_of(seed: int, products: int) -> list[dict[str, Any]]:
    """As the store gives them, in no order."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((5, DIM))
    found = []
    for n in range(products):
        fields = {
            "product_id": f"p{rng.integers(10**9)}é{n}",
            "brand": str(rng.choice(BRANDS)),
            "seller": str(rng.choice(SELLERS)),
            "categories": [str(c) for c in rng.choice(CATEGORIES, rng.integers(3), replace=False)],
            "entities": [str(e) for e in rng.choice(ENTITIES, rng.integers(3), replace=False)],
            "price": float(rng.choice([-1.0, 0.0, 5.0, 9.5])),
            "updated_at": int(rng.choice([0, 1_700_000_000, 1_800_000_000])),
        }
        for i in range(rng.choice([1, 1, 2, 4])):
            vector = pool[rng.integers(5)] if rng.random() < 0.3 else rng.standard_normal(DIM)
            found.append({**fields, "instance_id": f"{fields['product_id']}#img{i}", "vector": vector.tolist()})
    return [found[n] for n in rng.permutation(len(found))]


def passes(row: dict[str, Any], leaf: Leaf) -> bool:
    linked = {*row["entities"], *row["categories"], row["brand"]}
    price, value = row["price"], leaf.value
    return {
        "brands": lambda: row["brand"] in value,
        "sellers": lambda: row["seller"] in value,
        "categories": lambda: bool({*row["categories"]} & {*value}),
        "near": lambda: bool(linked & {*value}),
        "min_price": lambda: price >= 0 and price >= value,
        "max_price": lambda: 0 <= price <= value,
        "updated_since": lambda: row["updated_at"] >= 1_750_000_000,
        "pattern": lambda: row["product_id"] in value,
    }[leaf.name]()


some = st.lists(st.sampled_from([*CATEGORIES, *ENTITIES, *BRANDS[:3], "colour:none"]), min_size=1, max_size=3)
leaf = st.one_of(
    st.builds(Leaf, st.just("brands"), st.lists(st.sampled_from([*BRANDS[:3], "brand:none"]), min_size=1)),
    st.builds(Leaf, st.just("sellers"), st.lists(st.sampled_from(SELLERS[:2]), min_size=1)),
    st.builds(Leaf, st.just("categories"), st.lists(st.sampled_from(CATEGORIES), min_size=1)),
    st.builds(Leaf, st.just("near"), some),
    st.builds(Leaf, st.sampled_from(["min_price", "max_price"]), st.sampled_from([-5.0, 0.0, 5.0, 9.0])),
    st.just(Leaf("updated_since", "2025-06-15T15:06:40+00:00")),
)
trees = st.recursive(
    leaf,
    lambda part: st.one_of(
        st.builds(Not, part),
        st.builds(lambda parts: All(tuple(parts)), st.lists(part, max_size=3)),
        st.builds(lambda parts: AnyOf(tuple(parts)), st.lists(part, max_size=3)),
    ),
    max_leaves=8,
)


def kept(rows: Rows, mask: np.ndarray) -> list[str]:
    return sorted({rows.products[n].decode() for n in rows.owner[mask]})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), trees)
def test_a_mask_is_what_plain_python_admits(seed: int, tree: Condition) -> None:
    data = rows_of(seed, 40)
    rows = gathered(data, DIM)
    expected = sorted({row["product_id"] for row in data if holds(tree, partial(passes, row))})
    mask = rows.mask(tree)
    assert kept(rows, mask) == expected
    assert rows.count(mask) == len(expected)


def test_ids_find_their_products_and_nothing_else() -> None:
    data = rows_of(1, 30)
    rows = gathered(data, DIM)
    wanted = sorted({row["product_id"] for row in data})[3:9]
    tree = Leaf("pattern", [*wanted, "p0", "", "p\0", "zzz", "\ud800"])
    assert kept(rows, rows.mask(tree)) == wanted
    assert gathered([], DIM).numbers(["p"]).tolist() == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), trees, st.integers(1, 50), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_the_nearest_are_among_the_candidates(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int, tree: Condition, k: int, queries: int, questions: int, half: bool,
) -> None:  # fmt: skip
    data = rows_of(seed, 40)
    rows = gathered(data, DIM)
    if half:
        folder = tmp_path_factory.mktemp("rows") / "half"
        write(folder, [data], DIM, "float16")
        rows = mapped(folder)
    mask = rows.mask(tree)
    asked = [
        np.random.default_rng((seed, n)).standard_normal((queries, DIM)).astype(np.float32) for n in range(questions)
    ]
    for question, found in zip(asked, rows.nearest(asked, mask, k), strict=True):
        best: dict[str, float] = {}
        for row in data:
            if holds(tree, partial(passes, row)):
                vector = np.array(row["vector"], np.float32).astype(float)
                score = max(
                    float(q @ vector / np.linalg.norm(q) / np.linalg.norm(vector)) for q in question.astype(float)
                )
                best[row["product_id"]] = max(score, best.get(row["product_id"], -1))
        top = sorted(best, key=lambda id: -best[id])[:k]
        names = [rows.products[n].decode() for n in found]
        assert len(names) == len(set(names))
        # Of equals at the cut any may be in `top`; all of them are candidates.
        worst = best[top[-1]] if top else 0
        assert {id for id, score in best.items() if score >= worst - 1e-9} <= set(names) <= set(best)


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    data = rows_of(2, 50)
    seen: list[int] = []
    assert write(tmp_path / "copy", [data[:20], data[20:]], DIM, "float32", seen.append) == len(data)
    assert seen == [20, len(data)]
    rows = mapped(tmp_path / "copy")
    fetched = rows.fetch(np.arange(len(rows.products)))
    expected = sorted(data, key=lambda row: (row["product_id"], row["instance_id"]))
    assert fetched.instance_ids == [row["instance_id"] for row in expected]
    assert fetched.product_ids == [row["product_id"] for row in expected]
    assert (fetched.vectors == np.array([row["vector"] for row in expected], np.float32)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    bad = [{**rows_of(0, 1)[0], "product_id": "ends in zero\0"}]
    with pytest.raises(BadVector, match="zero byte"):
        write(tmp_path / "copy", [rows_of(0, 5), bad], DIM, "float32")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_collection_is_a_copy_too(tmp_path: Path) -> None:
    write(tmp_path / "copy", [], DIM, "float16")
    rows = mapped(tmp_path / "copy")
    assert len(rows) == 0
    assert [found.tolist() for found in rows.nearest([np.ones((1, DIM), np.float32)], None, 3)] == [[]]
    assert rows.count(rows.mask(Leaf("brands", ["brand:a"]))) == 0


def test_keys_that_are_too_long_meet_as_the_store_keeps_them() -> None:
    from kg.vectors.schema import fit

    row = {**rows_of(0, 1)[0], "brand": fit("brand", LONG)}
    rows = gathered([row], DIM)
    assert rows.mask(Leaf("brands", [LONG])).all()
    assert not rows.mask(Leaf("brands", [LONG + "y"])).any()


def test_half_the_digits_take_half_the_room() -> None:
    assert scanned_bytes(1000, 256, "float32") - scanned_bytes(1000, 256, "float16") == 1000 * 256 * 2


def test_a_question_of_many_vectors_is_scored_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, draw = gathered(rows_of(3, 60), DIM), np.random.default_rng(4)
    questions = [draw.standard_normal((n, DIM)).astype(np.float32) for n in (1, 9, 2, 40, 1)]
    expected = [found.tolist() for found in rows.nearest(questions, None, 7)]
    monkeypatch.setattr(resident_rows, "SCORES", 3 * len(rows))
    assert [found.tolist() for found in rows.nearest(questions, None, 7)] == expected


def test_a_full_disk_is_an_error_and_no_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "copy", [rows_of(0, 5)], DIM, "float32")
    assert list(tmp_path.iterdir()) == []
