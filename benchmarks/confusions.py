"""What one encoder confuses and another does not: text to picture among the test items, case by case.

    python -m benchmarks.confusions [--data DIR --encoder A --encoder B] --out FILE [--picture FILE.png]

With `--data` (the layout of protocol 1 of `benchmarks.quality`) the encoders are checkpoints, of which several of one
kind may be named with a comma between: their counts are averaged, the cases are those of the first. Without it both are
trained on the rendered sample catalogue, whose pictures may be shown anywhere.

A case is *removed* where A's first picture is wrong and B's is right, and *new* where it is the other way round. Of
each wrong first picture it is said in which fields (brand, category, colour …) it differs from the right one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, pyplot, write_figures
from benchmarks.quality_answers import pictures
from benchmarks.quality_data import ONE_PRODUCT, item_of, products_of
from encoders import load
from encoders.data import TrainItem, stated_entities
from encoders.training import train
from kg.catalogue.columns import ColumnMap
from kg.catalogue.pictures import Pictures
from kg.catalogue.readers import read_rows
from kg.records import Product
from kg.sample import write_sample

__all__ = ["Case", "Questions", "cases", "main"]

TRAINED = ("capture_tiny", "ege_cmp_tiny")
SHOWN = 4  # cases of either kind in the picture
SAMPLE = 600  # products


@dataclass(frozen=True)
class Questions:
    """Items that are asked for by their text, among all of their pictures.

    Attributes:
        items: the test items.
        relevant: (N, N) bool, text to picture.
        fields: of each item, by name; a field that is not stated is left out.
    """

    items: Sequence[TrainItem]
    relevant: NDArray[np.bool_]
    fields: Sequence[dict[str, str]]


@dataclass(frozen=True)
class Case:
    """One text whose first picture is right with one encoder and wrong with the other.

    Attributes:
        query: number of the item asked for.
        firsts: number of the first picture, by A and by B.
        removed: it was A that was wrong.
        differs: fields in which the wrong picture differs from the item asked for.
    """

    query: int
    firsts: tuple[int, int]
    removed: bool
    differs: tuple[str, ...]


def questions(items: Sequence[TrainItem], products: Sequence[Product]) -> Questions:
    """Of the same key or the same text: relevant."""
    key, text = np.array([item.key for item in items]), np.array([item.text for item in items])
    relevant = (key[:, None] == key) | (text[:, None] == text)
    return Questions(items, relevant, [_fields(product) for product in products])


def _fields(product: Product) -> dict[str, str]:
    stated = {"brand": product.brand, "category": " > ".join(product.category), **dict(product.attributes)}
    return {name: value for name, value in stated.items() if value}


def firsts(checkpoint: Path, asked: Questions, cache: Path | None = None) -> NDArray[np.int64]:
    """Number of the first picture for each text."""
    encoder = load(checkpoint, cache=cache)
    scores = encoder.encode_texts([item.text for item in asked.items]) @ pictures(encoder, asked.items).T
    return first_of(scores, asked.relevant)


def first_of(scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the best picture of each text, (N, N) → (N,): of several that are as good a wrong one, since nothing
    but their order in the table would put the right one first."""
    best = scores == scores.max(axis=1, keepdims=True)
    return (2 * best - (best & relevant)).argmax(axis=1)


def cases(asked: Questions, a: NDArray[np.int64], b: NDArray[np.int64]) -> list[Case]:
    """Where exactly one of two encoders is right, by their first pictures (N,)."""
    rows = np.arange(len(a))
    right = asked.relevant[rows, a], asked.relevant[rows, b]
    found = []
    for query in np.flatnonzero(right[0] != right[1]):
        removed = bool(right[1][query])
        wrong = int((a if removed else b)[query])
        found.append(Case(int(query), (int(a[query]), int(b[query])), removed, _differs(asked, int(query), wrong)))
    return found


def _differs(asked: Questions, query: int, wrong: int) -> tuple[str, ...]:
    own, other = asked.fields[query], asked.fields[wrong]
    return tuple(name for name, value in own.items() if name in other and other[name] != value)


def figures(asked: Questions, runs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Iterator[Figure]:
    """Means over the runs of A and B."""
    rows = np.arange(len(asked.items))
    wrong = [[~asked.relevant[rows, first] for first in run] for run in runs]
    found = [cases(asked, *run) for run in runs]
    yield Figure("texts asked", len(rows), "")
    both = [100 * statistics.fmean(float(pair[side].mean()) for pair in wrong) for side in (0, 1)]
    yield Figure("first picture wrong with B, beside A", both[1], "%", both[0])
    for name, removed in (("removed", True), ("new", False)):
        count = statistics.fmean(sum(case.removed == removed for case in cases) for cases in found)
        yield Figure(f"confusions {name}", 100 * count / len(rows), "%")
    for name in sorted({name for fields in asked.fields for name in fields}):
        share = [statistics.fmean(_other(asked, run[side], name) for run in runs) for side in (0, 1)]
        yield Figure(f"wrong first pictures of another {name}, with B beside A", share[1], "%", share[0])


def _other(asked: Questions, first: NDArray[np.int64], name: str) -> float:
    """Per cent of the wrong first pictures (N,) that differ in this field."""
    rows = np.flatnonzero(~asked.relevant[np.arange(len(first)), first])
    return 100 * sum(name in _differs(asked, row, first[row]) for row in rows) / max(len(rows), 1)


def draw(asked: Questions, found: Sequence[Case], names: Sequence[str], path: Path) -> None:
    """A picture of some cases of both kinds: the text, the right picture, and the first one of either encoder."""
    kinds = {"removed": [c for c in found if c.removed][:SHOWN], "new": [c for c in found if not c.removed][:SHOWN]}
    shown = [(kind, case) for kind, some in kinds.items() for case in some]
    if not shown:
        raise ValueError("the encoders are right and wrong in the same places: there is nothing to draw")
    if (plt := pyplot()) is None:
        return
    figure, axes = plt.subplots(len(shown), 4, figsize=(10, 2.2 * len(shown)), squeeze=False, width_ratios=[2, 1, 1, 1])
    for row, (kind, case) in zip(axes, shown, strict=True):
        for axis in row:
            axis.axis("off")
        differs = f"\ndiffers in {', '.join(case.differs)}" if case.differs else ""
        words = f"{kind} by {names[1]}\n\n{_folded(asked.items[case.query].text)}{differs}"
        row[0].text(0, 0.5, words, va="center", fontsize=9)
        for axis, number, title in zip(
            row[1:], (case.query, *case.firsts), ("asked for", *(f"first: {name}" for name in names)), strict=True
        ):
            right = asked.relevant[case.query, number]
            axis.imshow(asked.items[number].open_picture())
            axis.set_title(title, fontsize=9, color="tab:green" if right else "tab:red")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _folded(text: str, width: int = 36, lines: int = 4) -> str:
    return "\n".join(textwrap.wrap(text, width)[:lines])


def sample(folder: Path, products: int) -> tuple[list[TrainItem], list[Product]]:
    """All listings of a sample catalogue, with the picture cut to the product where the table says so."""
    paths = write_sample(folder, products=products)
    known, reader = ColumnMap.load(str(paths.map)), Pictures(cache=folder / "pictures")
    found = [known.record(row) for _, row in read_rows(paths.table)]
    found = [product for product in found if product.pictures]

    def opened(product: Product) -> TrainItem:
        shown = product.pictures[0]
        open_picture = partial(_cut, reader, reader.locate(paths.images, shown.uri), shown.box)
        key, entities = product.identity or product.id, stated_entities(product)
        return TrainItem(product.id, key, product.title, open_picture, entities=entities)

    return [opened(product) for product in found], found


def _cut(reader: Pictures, uri: str, box: Sequence[float] | None):  # type: ignore[no-untyped-def]
    image = reader.open(uri)
    return image.crop(tuple(box)) if box else image  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.confusions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, help="folder of protocol 1; default: the rendered sample catalogue")
    parser.add_argument("--encoder", action="append", default=[], help="checkpoints A and B, named twice; with --data")
    parser.add_argument("--cache", type=Path, help="feature cache of earlier runs (`features` of a quality --work)")
    parser.add_argument("--size", type=int, default=SAMPLE, help="products of the sample (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a small sample, two epochs: does it run at all?")
    parser.add_argument("--picture", type=Path, help="PNG of some cases (extra `plots`)")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    options = parser.parse_args()
    if bool(options.data) != (len(options.encoder) == 2):
        parser.error("--data and two --encoder go together")
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        if options.data:
            sides = [[Path(name) for name in side.split(",")] for side in options.encoder]
            names = [side[0].name for side in sides]
            if len(sides[0]) != len(sides[1]):
                parser.error(f"{len(sides[0])} and {len(sides[1])} checkpoints: each of A needs one of B")
            products = [p for p in products_of(options.data, "items.csv", "fashion9k") if p.pictures]
            items = [item_of(options.data, product) for product in products]
        else:
            items, products = sample(folder / "sample", 80 if options.quick else options.size)
            names = list(TRAINED)
            sides = [[_trained(name, items, folder, 2 if options.quick else None)] for name in names]
        tested = [row for row, item in enumerate(items) if item.part == "test"]
        asked = questions([items[row] for row in tested], [products[row] for row in tested])
        cache = options.cache or folder / "features"
        runs = [(firsts(a, asked, cache), firsts(b, asked, cache)) for a, b in zip(*sides, strict=True)]
        if options.picture:
            draw(asked, cases(asked, *runs[0]), names, options.picture)
    write_figures(list(figures(asked, runs)), options.out)


def _trained(name: str, items: Sequence[TrainItem], folder: Path, epochs: int | None) -> Path:
    config = "+".join([name, *ONE_PRODUCT])
    out = folder / name
    train(name.removesuffix("_tiny"), items, out, config=config, epochs=epochs, cache=folder / "features")
    return out


if __name__ == "__main__":
    main()
