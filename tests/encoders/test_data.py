from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
from PIL import Image

from encoders.data import TrainItem, identities, split_of


def item(key: str, text: str, split: str | None = None) -> TrainItem:
    return TrainItem(f"{key}/{text}", key, text, lambda: Image.new("RGB", (8, 8)), split)  # type: ignore[arg-type]


def test_split_is_the_documented_hash() -> None:
    for key in ("10000", "a", "名前"):
        place = int(hashlib.sha1(f"skugraph:{key}".encode()).hexdigest(), 16) % 100
        assert split_of(key) == ("test" if place < 20 else "val" if place < 30 else "train")


def test_shares_of_the_split() -> None:
    shares = Counter(split_of(str(n)) for n in range(10_000))
    assert abs(shares["test"] - 2000) < 200
    assert abs(shares["val"] - 1000) < 150


def test_a_set_with_a_split_of_its_own_keeps_it() -> None:
    key = next(str(n) for n in range(100) if split_of(str(n)) == "test")
    assert item(key, "x").part == "test"
    assert item(key, "x", "train").part == "train"


def test_items_of_one_key_or_one_text_belong_together() -> None:
    found = identities([item("a", "Red  Shoe"), item("a", "other"), item("b", "red shoe"), item("c", "blue")])
    same = (found[:, None] == found[None]).any(axis=2)
    wanted = np.eye(4, dtype=bool)
    wanted[0, 1] = wanted[1, 0] = wanted[0, 2] = wanted[2, 0] = True
    assert (same == wanted).all()
