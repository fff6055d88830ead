"""The data of each protocol: what is trained on, what is asked, what is relevant. Read by column maps; of each set only
the relevance rule is code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality_answers import answer, methods, pictures, score, see, unit
from benchmarks.quality_choice import Found, Measured, Way
from benchmarks.quality_described import BESIDE_TEXTS, described, described_figures
from encoders import Encoder
from encoders.data import Split, TrainItem, split_of, stated_entities
from encoders.evaluation.protocols import cross_modal, over_seeds, same_product, sampled
from kg.catalogue.columns import ColumnMap
from kg.catalogue.pictures import Pictures
from kg.catalogue.readers import read_rows
from kg.errors import BadInput
from kg.records import Product, content_hash

__all__ = ["Benchmark", "fashion", "grocery", "grocery_photos", "item_of", "kept", "products_of", "with_pictures"]

ONE_PRODUCT = ("no_scenes", "no_detector")  # photos of one product: nothing to find in them, nothing to compose
WEIGHTS = (1.0, 0.3, 3.0)  # of a text beside its picture
QUICK = 10  # one key in ten
SAMPLES = 5  # seeds of sample-100
READER = Pictures(cache=Path("build/pictures"))  # the sets lie in zip files: nothing is fetched, nothing cached


@dataclass(frozen=True)
class Benchmark:
    """One protocol on one data set.

    Attributes:
        training: items of train and validation.
        measure: an encoder's figures.
        facts: for the budget: protocol, split, text template, sizes.
        criterion: metric on validation that chooses between the ways to answer.
        changes: to every encoder's config, alike for all (encoders/configs/ablations.json).
    """

    name: str
    training: Sequence[TrainItem]
    measure: Callable[[Encoder], Measured]
    facts: dict[str, Any] = field(default_factory=dict)
    criterion: str = ""
    changes: tuple[str, ...] = ()


def fashion(data: Path, test_data: Path | None, quick: bool) -> Benchmark:
    """Protocol 1: picture to title and title to picture. Relevant: same identity, or identical title."""
    products = list(products_of(data, "items.csv", "fashion9k"))
    items = [item_of(data, product) for product in products if not quick or kept(_key(product))]
    tested = [p for p in products if split_of(_key(p)) == "test"]
    folder = test_data or data
    if test_data:
        tested = list(products_of(test_data, "items.csv", "fashion9k"))
    if quick:
        tested = [p for p in tested if kept(_key(p))]
    tested, unread = with_pictures(folder, tested)
    questions = [item_of(folder, product) for product in tested]
    brands = {p.brand for p in products if split_of(_key(p)) == "train"}
    cold = np.array([bool(p.brand) and p.brand not in brands for p in tested], bool)
    identity = np.array([_key(p) for p in tested])
    title = np.array([p.title for p in tested])
    relevant = (identity[:, None] == identity) | (title[:, None] == title) & (title != "")
    groups = [(p.category[-1], " > ".join(p.category[:2])) for p in tested]

    def measure(encoder: Encoder) -> Measured:
        seen = pictures(encoder, questions)
        scores = seen @ described(encoder, questions).T
        figures = cross_modal(scores, relevant)
        figures |= described_figures(encoder, questions, seen, scores, relevant, cold)
        figures |= over_seeds([sampled(scores, relevant, groups, seed=seed) for seed in range(SAMPLES)])
        return Measured({Way(""): Found(figures)})

    return Benchmark(
        "fashion",
        [item for item in items if item.part != "test"],
        measure,
        {
            "text": "title",
            "structured entities": BESIDE_TEXTS,
            "test items of a brand that is in no training item": int(cold.sum()),
            "split": "by hash of instance_id; test: " + (f"all of {test_data}" if test_data else "below 20"),
            "test items": len(tested),
            "test items without a picture that can be read": unread,
            "sample-100": f"1,000 queries, 100 negatives of the same cat3, {SAMPLES} seeds",
        },
        changes=ONE_PRODUCT,
    )


def grocery(data: Path, test_data: Path | None, quick: bool) -> Benchmark:
    """Protocol 3: a shop photo to its product. Galleries: iconic photo and text of each class; all training photos.

    Raises:
        BadInput: a photo of a class that is not known.
    """
    classes = {p.id: (data, p) for p in products_of(data, "classes.csv", "grocerystore-classes")}
    parts, photos = {}, []
    for part, p in grocery_photos(data):
        if not quick or kept(p.id):
            parts[p.id] = part
            photos.append(p)
    if test_data and (test_data / "classes.csv").is_file():
        classes |= {p.id: (test_data, p) for p in products_of(test_data, "classes.csv", "grocerystore-classes")}
    texts = {key: p.text for key, (_, p) in classes.items()}

    def known(folder: Path, photos: Sequence[Product]) -> None:
        if strange := [p for p in photos if p.identity not in texts]:
            raise BadInput(f"{folder}/images.csv: {strange[0].id!r} is of class {strange[0].identity!r}, of which "
                           f"classes.csv knows nothing ({len(strange)} photos like it)")  # fmt: skip

    known(data, photos)
    used = [item_of(data, p, texts[p.identity], parts[p.id]) for p in photos if parts[p.id] != "test"]
    iconic = [item_of(folder, p, texts[key]) for key, (folder, p) in classes.items()]
    folder, asked = data, [p for p in photos if parts[p.id] == "test"]
    if test_data:
        folder, asked = test_data, list(products_of(test_data, "images.csv", "grocerystore"))
        known(folder, asked)
        asked = [p for p in asked if not quick or kept(p.id)]
    asked, unread = with_pictures(folder, asked)
    for item in iconic:
        item.open_picture()  # one that cannot be read is said now, and not after an hour of training
    queries = [item_of(folder, p, texts[p.identity]) for p in asked]
    val = [item for item in used if item.part == "val"]
    gallery = [item for item in used if item.part == "train"]
    wanted = np.array([item.key for item in (*val, *queries)])
    cartons = np.array([bool(classes[key][1].brand) for key in wanted])

    def measure(encoder: Encoder) -> Measured:
        photos = see(encoder, [*val, *queries])
        names = np.array(list(classes))
        ways: dict[Way, Found] = {}
        drawn, read = pictures(encoder, iconic), described(encoder, iconic)
        for question, weight, vectors, keys in (
            *(("iconic+text", weight, unit(drawn + weight * read), names) for weight in WEIGHTS),
            ("iconic", 0.0, drawn, names),
            ("text", 0.0, read, names),
            ("photos", 0.0, pictures(encoder, gallery), np.array([item.key for item in gallery])),
        ):
            relevant = wanted[:, None] == keys
            there = relevant.any(axis=1)
            tested = np.arange(len(wanted)) >= len(val)
            scored = score(photos, vectors)
            for method, limit in methods(photos, several=False):
                table = answer(scored, method, limit)

                def judged(rows: NDArray[np.bool_], table: Any = table, relevant: Any = relevant) -> dict[str, float]:
                    return same_product(table[rows], relevant[rows]) if rows.any() else {}

                carton = {f"cartons/{name}": v for name, v in judged(there & tested & cartons).items()}
                ways[Way(question, method, limit, weight=weight)] = Found(
                    judged(there & tested) | carton, judged(there & ~tested)
                )
        return Measured(ways)

    return Benchmark(
        "grocery",
        used,
        measure,
        {
            "text": "class name and description",
            "structured entities": f"of classes: {BESIDE_TEXTS}",
            "split": "the set's own" + (f"; test: all of {test_data}" if test_data else ""),
            "test items": len(queries),
            "test items without a picture that can be read": unread,
            "carton test items": int(cartons[len(val) :].sum()),
            "galleries": {"iconic": len(iconic), "photos": len(gallery)},
        },
        criterion="mAP@10",
        changes=ONE_PRODUCT,
    )


def grocery_photos(folder: Path) -> Iterator[tuple[Split, Product]]:
    """Photos of the set, each with its part. That is no attribute of a product: encoders are told those, and would
    learn to tell training from validation."""
    for product in products_of(folder, "images.csv", "grocerystore", split="split"):
        rest = tuple(pair for pair in product.attributes if pair[0] != "split")
        part = dict(product.attributes)["split"]
        yield cast(Split, part), product.model_copy(update={"attributes": rest})


def products_of(folder: Path, table: str, columns: str | ColumnMap, **attributes: str) -> Iterator[Product]:
    """Records of a table; `attributes` adds columns to the map."""
    known = ColumnMap.load(columns) if isinstance(columns, str) else columns
    known = known.model_copy(update={"attributes": {**known.attributes, **{k: (v,) for k, v in attributes.items()}}})
    return (known.record(row) for _, row in read_rows(folder / table))


def item_of(folder: Path, product: Product, text: str | None = None, split: Split | None = None) -> TrainItem:
    """A listing to train on or to ask with; its picture lies in the folder's images.zip.

    Raises:
        BadInput: it has no picture.
    """
    if not product.pictures:
        raise BadInput(f"{folder}: {product.id!r} has no picture")
    uri = READER.locate(folder / "images.zip", product.pictures[0].uri)
    opened = partial(READER.open, uri)
    entities = stated_entities(product)
    return TrainItem(product.id, _key(product), product.title if text is None else text, opened, split, entities)


def with_pictures(folder: Path, products: Sequence[Product]) -> tuple[list[Product], int]:
    """Those whose picture can be read, and how many cannot: known before the training, and not an hour later.

    Raises:
        BadInput: of none it can be read.
    """
    found, last = [], BadInput("")
    for product in products:
        try:
            item_of(folder, product).open_picture()
            found.append(product)
        except (BadInput, OSError) as error:
            last = BadInput(f"{folder}: no picture can be read; of {product.id!r}: {error}")
    if products and not found:
        raise last
    return found, len(products) - len(found)


def _key(product: Product) -> str:
    """Of the very product; a listing that names none is one for itself."""
    return product.identity or product.id


def kept(key: str) -> bool:
    """The same tenth on every run, drawn independently of the split."""
    return int(content_hash(key), 16) % QUICK == 0
