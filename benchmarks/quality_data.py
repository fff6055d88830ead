"""The data of each protocol: what is trained on, what is asked, what is relevant. Read by column maps; of each set only
the relevance rule is code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import Encoder
from encoders.data import TrainItem, split_of
from encoders.evaluation.protocols import cross_modal, same_product, sampled
from kg.catalogue.columns import ColumnMap
from kg.catalogue.pictures import Pictures
from kg.catalogue.readers import read_rows
from kg.records import Product, content_hash

__all__ = ["Benchmark", "fashion", "grocery"]

QUICK = 10  # one key in ten
SAMPLES = 5  # seeds of sample-100
BATCH = 256
READER = Pictures(cache=Path("build/pictures"))  # the sets lie in zip files: nothing is fetched, nothing cached


@dataclass(frozen=True)
class Benchmark:
    """One protocol on one data set.

    Attributes:
        training: items of train and validation.
        evaluate: an encoder's figures on test, metric → value.
        facts: for the budget: protocol, split, text template, sizes.
    """

    name: str
    training: Sequence[TrainItem]
    evaluate: Callable[[Encoder], dict[str, float]]
    facts: dict[str, Any] = field(default_factory=dict)


def fashion(data: Path, test_data: Path | None, quick: bool) -> Benchmark:
    """Protocol 1: picture to title and title to picture. Relevant: same identity, or identical title."""
    products = list(_products(data, "items.csv", "fashion9k"))
    items = [_item(data, product) for product in products if not quick or _kept(product.identity)]
    tested = [p for p in products if split_of(p.identity) == "test"]
    folder = test_data or data
    if test_data:
        tested = list(_products(test_data, "items.csv", "fashion9k"))
    if quick:
        tested = [p for p in tested if _kept(p.identity)]
    questions = [_item(folder, product) for product in tested]
    identity = np.array([p.identity for p in tested])
    title = np.array([p.title for p in tested])
    relevant = (identity[:, None] == identity) | (title[:, None] == title)
    groups = [(p.category[-1], " > ".join(p.category[:2])) for p in tested]

    def evaluate(encoder: Encoder) -> dict[str, float]:
        scores = _pictures(encoder, questions) @ encoder.encode_texts([item.text for item in questions]).T
        figures = cross_modal(scores, relevant)
        draws = [sampled(scores, relevant, groups, seed=seed) for seed in range(SAMPLES)]
        for name in draws[0]:
            values = [draw[name] for draw in draws]
            figures |= {name: float(np.mean(values)), f"{name}/spread": float(np.std(values, ddof=1))}
        return figures

    return Benchmark(
        "fashion",
        [item for item in items if item.part != "test"],
        evaluate,
        {
            "text": "title",
            "structured entities": "not used",
            "split": "by hash of instance_id; test: " + (f"all of {test_data}" if test_data else "below 20"),
            "test items": len(tested),
            "sample-100": f"1,000 queries, 100 negatives of the same cat3, {SAMPLES} seeds",
        },
    )


def grocery(data: Path, test_data: Path | None, quick: bool) -> Benchmark:
    """Protocol 3: a shop photo to its product. Galleries: iconic photo and text of each class; all training photos."""
    classes = {p.id: p for p in _products(data, "classes.csv", "grocerystore-classes")}
    photos = list(_products(data, "images.csv", "grocerystore", split="split"))
    if quick:
        photos = [p for p in photos if _kept(p.id)]
    texts = {key: p.text for key, p in classes.items()}
    used = [_item(data, p, texts[p.identity], _split(p)) for p in photos if _split(p) != "test"]
    iconic = [_item(data, p, texts[key]) for key, p in classes.items()]
    folder = test_data or data
    asked = [p for p in photos if _split(p) == "test"]
    if test_data:
        asked = list(_products(test_data, "images.csv", "grocerystore"))
        asked = [p for p in asked if not quick or _kept(p.id)]
    queries = [_item(folder, p, texts[p.identity]) for p in asked]
    gallery = [item for item in used if item.part == "train"]
    wanted = np.array([item.key for item in queries])
    cartons = np.array([bool(classes[key].brand) for key in wanted])

    def evaluate(encoder: Encoder) -> dict[str, float]:
        asking, shots = _pictures(encoder, queries), _pictures(encoder, gallery)
        drawn, said = _pictures(encoder, iconic), encoder.encode_texts([item.text for item in iconic])
        fused = drawn + said
        fused /= np.linalg.norm(fused, axis=1, keepdims=True)
        names = np.array(list(classes))
        figures: dict[str, float] = {}
        for gallery_name, vectors, keys in (
            ("iconic+text", fused, names),
            ("iconic", drawn, names),
            ("text", said, names),
            ("photos", shots, np.array([item.key for item in gallery])),
        ):
            relevant = wanted[:, None] == keys
            for part, rows in (("", relevant.any(axis=1)), ("cartons/", cartons & relevant.any(axis=1))):
                if rows.any():
                    found = same_product((asking @ vectors.T)[rows], relevant[rows])
                    figures |= {f"{gallery_name}/{part}{name}": value for name, value in found.items()}
        return figures

    return Benchmark(
        "grocery",
        used,
        evaluate,
        {
            "text": "class name and description",
            "structured entities": "not used",
            "split": "the set's own" + (f"; test: all of {test_data}" if test_data else ""),
            "test items": len(queries),
            "carton test items": int(cartons.sum()),
            "galleries": {"iconic": len(iconic), "photos": len(gallery)},
        },
    )


def _products(folder: Path, table: str, columns: str, **attributes: str) -> Iterator[Product]:
    """Records of a table; `attributes` adds columns to the map."""
    known = ColumnMap.load(columns)
    known = known.model_copy(update={"attributes": {**known.attributes, **{k: (v,) for k, v in attributes.items()}}})
    return (known.record(row) for _, row in read_rows(folder / table))


def _item(folder: Path, product: Product, text: str | None = None, split: Any = None) -> TrainItem:
    uri = READER.locate(folder / "images.zip", product.pictures[0].uri)
    opened = partial(READER.open, uri)
    return TrainItem(product.id, product.identity or product.id, product.title if text is None else text, opened, split)


def _split(product: Product) -> str:
    return dict(product.attributes)["split"]


def _kept(key: str) -> bool:
    """The same tenth on every run, drawn independently of the split."""
    return int(content_hash(key), 16) % QUICK == 0


def _pictures(encoder: Encoder, items: Sequence[TrainItem]) -> NDArray[np.float32]:
    parts = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
    return np.concatenate([encoder.encode_images([item.open_picture() for item in part]) for part in parts])
