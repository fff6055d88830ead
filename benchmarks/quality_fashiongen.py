"""Fashion-Gen as the data of protocol 1: `--data` is a folder with its two files, or one of them.

A folder: the training file is trained on, a tenth of its products held back for validation; the validation file is the
test, as everyone has it. One file alone: split by the hash of the product, not comparable with any published figure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.quality_answers import pictures
from benchmarks.quality_choice import Found, Measured, Way
from benchmarks.quality_data import ONE_PRODUCT, Benchmark, kept
from benchmarks.quality_described import described
from encoders import Encoder
from encoders.data import Split, TrainItem, category_levels, split_of
from encoders.evaluation import fashiongen as protocols
from kg.catalogue.fashiongen import View, find_files, open_view, read_fashiongen
from kg.errors import BadInput
from kg.records import caption

__all__ = ["DEFAULT", "TEMPLATES", "fashiongen", "is_fashiongen", "item_of", "split_view"]

TEMPLATES: dict[str, Callable[[View], str]] = {
    "name and description": lambda view: caption(view.name, view.description),
    "description": lambda view: view.description,
    "fields and description": lambda view: caption(
        ". ".join(filter(None, (view.composition, view.subcategory, view.brand, view.season))), view.description
    ),
}
LEAKS = ("fields and description",)  # what the text says of brand and season makes it easier to find: it is noted
DEFAULT = "name and description"


def is_fashiongen(data: Path) -> bool:
    """Whether this is a file of Fashion-Gen, or a folder that holds one."""
    return data.suffix == ".h5" or any(data.glob("*.h5"))


def fashiongen(data: Path, test_data: Path | None, quick: bool, template: str = DEFAULT) -> Benchmark:
    """Protocol 1 on Fashion-Gen: `i2t/R@1` … of every view, `product/…` of one view a product, `sample100/…`.

    Args:
        data: folder with the two files, or one file.
        test_data: a file whose views are all test.
        quick: a tenth of the products.
        template: one of TEMPLATES, what is read as the text of a product.

    Raises:
        BadInput: a file that is missing or broken (see `kg.catalogue.fashiongen`), an unknown template, no test view.
    """
    if template not in TEMPLATES:
        raise BadInput(f"text template {template!r}: one of {', '.join(TEMPLATES)}")
    files = {"all": data} if data.is_file() else find_files(data)
    used: list[TrainItem] = []
    tested: list[tuple[Path, View]] = []
    for part, path in files.items():
        seen: set[str] = set()
        for view in _views(path, quick):
            split = split_view(part, view, first=view.product not in seen)
            seen.add(view.product)
            if split == "test":
                tested.append((path, view))
            elif split:
                used.append(item_of(path, view, template, split))
    if test_data:
        tested = [(test_data, view) for view in _views(test_data, quick)]
    if not tested:
        raise BadInput(f"{test_data or data} has no view to test with")
    numbers = {product: number for number, product in enumerate(dict.fromkeys(view.product for _, view in tested))}
    owner = np.array([numbers[view.product] for _, view in tested])
    first = np.unique(owner, return_index=True)[1]
    photos = [item_of(path, view, template) for path, view in tested]
    texts = [photos[place] for place in first]
    subcategories = [view.subcategory for _, view in tested]

    def measure(encoder: Encoder) -> Measured:
        scores = protocols.of_vectors(pictures(encoder, photos), described(encoder, texts))
        figures = protocols.full(scores, owner) | protocols.product(scores, owner)
        return Measured({Way(""): Found(figures | protocols.sample_100(scores, owner, subcategories))})

    return Benchmark(
        "fashiongen",
        used,
        measure,
        {
            "text": template + (": its fields are told as text" if template in LEAKS else ""),
            "structured entities": "given with each text to the encoders that take them, read by no other",
            "split": _split_said(files, test_data),
            "test views": len(tested),
            "test products": len(texts),
            "test products whose text another has too": len(texts) - len({item.text for item in texts}),
            "full": "i2t/…, t2i/…: every view against the text of every product; any view is right",
            "product": "the first view of each product against the text of each",
            "sample-100": f"1,000 views, 100 negatives of the same subcategory, {len(protocols.SEEDS)} seeds",
        },
        changes=ONE_PRODUCT,
    )


def split_view(part: str, view: View, *, first: bool) -> Split | None:
    """Where a view of a file belongs; None: nowhere. Validation takes the first view of each of its products: that is
    what ranks thousands of them against each other in a moment."""
    if part == "val":  # the file that everyone tests with
        return "test"
    split = split_of(view.product)
    if part == "train" and split == "test":
        return "train"
    return split if split != "val" or first else None


def item_of(path: Path, view: View, template: str = DEFAULT, split: Split | None = None) -> TrainItem:
    """A view to train on or to ask with."""
    levels = (category_levels(one.path) or ((one.type, one.text),) for one in view.entities())
    stated = tuple(chain.from_iterable(levels))
    return TrainItem(
        id=f"{view.product}-{view.row}",
        key=view.product,
        text=TEMPLATES[template](view),
        open_picture=partial(open_view, path, view.row),
        split=split,
        entities=stated,
    )


def _views(path: Path, quick: bool) -> list[View]:
    return [view for view in read_fashiongen(path) if not quick or kept(view.product)]


def _split_said(files: dict[str, Path], test_data: Path | None) -> str:
    said = "the set's own" if "train" in files else "by hash of the product, comparable with nothing published"
    val = "a tenth of the products of the training file, one view each"
    return f"{said}; validation: {val}" + (f"; test: all of {test_data.name}" if test_data else "")
