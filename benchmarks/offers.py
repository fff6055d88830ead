"""Found offers at a stated precision: calibrated on validation, checked on test.

    python -m benchmarks.offers [--data DIR] [--encoder DIR] [--size N] [--quick] --out FILE

`--data` is a folder of one of the known layouts: fashion9k (photos of one `instance_id` are one product), grocerystore
(shop photos of one class, by pictures alone: their titles are the class) or product1m-text (listings of the same
labels, by titles alone; no encoder is trained for it). Without it the sample: two or three listings of each product,
with photos and captions of their own. Products of validation choose the score, those of test are asked with it; the
set's own split counts where it has one. A pair is a listing that is asked for with one of its nearest, as in
`api/calibration.py`.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.calibrating import Pairs, choose, needed
from api.matching import DEPTH, WAYS
from benchmarks.figures import Figure, write_figures
from benchmarks.quality_answers import pictures, remembering, unit
from benchmarks.quality_data import grocery_photos, item_of, kept, products_of
from encoders import Encoder, load
from encoders.data import Split, TrainItem, split_of
from encoders.training import train
from kg.catalogue.columns import ColumnMap
from kg.errors import BadInput
from kg.records import normalise
from kg.sample import write_sample

__all__ = ["GOALS", "Listing", "Task", "from_folder", "from_sample", "main", "measure", "pairs_of"]

GOALS = (0.8, 0.9, 0.95)  # stated precisions
NGRAMS = 8192  # places of the hashed pairs of letters
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Listing:
    id: str
    identity: str
    title: str
    split: Split
    item: TrainItem | None  # None: it has no picture


@dataclass(frozen=True)
class Task:
    """Listings, and which of their vectors may be compared without giving the answer away."""

    name: str
    listings: list[Listing]
    kinds: tuple[str, ...]
    config: str = "clip_style"


def from_folder(data: Path, quick: bool) -> Task:
    """One of the known layouts.

    Raises:
        BadInput: none of them.
    """
    if (data / "images.csv").is_file():
        found = [
            Listing(p.id, p.identity, "", _own(part), item_of(data, p, p.title, _own(part)))
            for part, p in grocery_photos(data)
        ]
        return Task("grocerystore", _some(found, quick), ("image",))
    table = data / "items.csv"
    with table.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    if {"split", "labels"} <= set(columns):
        return Task("product1m-text", _some(list(_labelled(table)), quick), ("text",))
    if "instance_id" in columns:
        found = []
        for p in products_of(data, "items.csv", "fashion9k"):
            item = item_of(data, p)
            found.append(Listing(p.id, item.key, p.title, item.part, item))
        return Task("fashion9k", _some(found, quick), ("image", "text", "fused"))
    raise BadInput(f"{data}: not of the layout of fashion9k, grocerystore or product1m-text")


def _own(split: str) -> Split:
    return "test" if split == "test" else "val" if split in ("val", "dev") else "train"


def _some(listings: list[Listing], quick: bool) -> list[Listing]:
    """All, or whole products of one in ten."""
    return [one for one in listings if not quick or kept(one.identity)]


def _labelled(table: Path) -> Iterator[Listing]:
    """Listings of the same labels are of the same set of things; split by hash: the public part is all `dev`."""
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            labels = {label for label in row["labels"].split("#;#") if label.strip()}
            identity = " + ".join(sorted(labels))
            if identity:
                yield Listing(row["id"], identity, row["title"], split_of(identity), None)


def from_sample(folder: Path, *, products: int) -> Task:
    paths = write_sample(folder, products=products)
    found = []
    for p in products_of(paths.table.parent, paths.table.name, ColumnMap.load(paths.map)):
        if p.pictures and not p.pictures[0].uri.startswith("scenes/"):
            path = paths.images / p.pictures[0].uri
            item = TrainItem(p.id, p.identity, p.text, lambda path=path: Image.open(path).convert("RGB"))  # type: ignore[misc]
            found.append(Listing(p.id, p.identity, p.text, item.part, item))
    return Task("sample", found, ("image", "text", "fused"))


def pairs_of(listings: Sequence[Listing], tables: Sequence[Vectors], asked: Split, unseen: Split) -> Pairs:
    """Pairs of the listings of one split with those near them by any of the tables, of all but one other split; their
    score is the mean of the cosines."""
    rows = np.array([at for at, one in enumerate(listings) if one.split == asked], np.int64)
    pool = np.array([at for at, one in enumerate(listings) if one.split != unseen], np.int64)
    identity = np.unique([one.identity for one in listings], return_inverse=True)[1]
    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(rows), 256):
        some = rows[start : start + 256]
        cosines = [table[some] @ table[pool].T for table in tables]
        near = np.zeros((len(some), len(pool)), bool)
        for table in cosines:
            table[some[:, None] == pool] = -np.inf
            best = np.argpartition(-table, min(DEPTH, len(pool) - 1), axis=1)[:, :DEPTH]
            np.put_along_axis(near, best, True, axis=1)
        near &= some[:, None] != pool
        scores = np.mean(cosines, axis=0)
        for row, column in zip(*np.nonzero(near), strict=True):
            a, b = int(some[row]), int(pool[column])
            found.setdefault((a, b) if a < b or listings[b].split != asked else (b, a), float(scores[row, column]))
    keys = np.array([*found], np.int64).reshape(-1, 2)
    return Pairs(
        np.array([*found.values()], np.float64),
        identity[keys[:, 0]] == identity[keys[:, 1]],
        identity[keys[:, 0]],
        existing(listings, asked, unseen),
    )


def existing(listings: Sequence[Listing], asked: Split, unseen: Split) -> int:
    """Right pairs of a listing that is asked for with any other but those of `unseen`."""
    own = Counter(one.identity for one in listings if one.split == asked)
    rest = Counter(one.identity for one in listings if one.split not in (asked, unseen))
    return sum(n * (n - 1) // 2 + n * rest[identity] for identity, n in own.items())


def equal_titles(listings: Sequence[Listing], asked: Split, unseen: Split) -> tuple[float, float]:
    """Precision and recall, per cent, of taking equal titles for one product."""
    groups: dict[str, list[Listing]] = {}
    for one in listings:
        if one.split != unseen and one.title:
            groups.setdefault(normalise(one.title), []).append(one)
    right = count = 0
    for group in groups.values():
        for at, one in enumerate(group):
            for other in group[at + 1 :]:
                if asked in (one.split, other.split):
                    count += 1
                    right += one.identity == other.identity
    there = existing(listings, asked, unseen)
    return 100 * (right / count if count else 1.0), 100 * (right / there if there else 0.0)


def letters(titles: Sequence[str]) -> Vectors:
    """Pairs of letters, hashed, rare ones heavier: what any language's titles can be compared by without a model."""
    rows = np.zeros((len(titles), NGRAMS), np.float32)
    for row, title in zip(rows, titles, strict=True):
        for a, b in pairwise(normalise(title)):
            row[zlib.crc32((a + b).encode()) % NGRAMS] = 1
    return unit(rows * np.log(len(titles) / np.maximum(rows.sum(axis=0), 1)))


def vectors_of(task: Task, encoder: Encoder | None) -> dict[str, Vectors]:
    """Kind → vectors of the listings."""
    found: dict[str, Vectors] = {}
    if encoder is None:
        return found
    items = [one.item for one in task.listings if one.item is not None]
    if "image" in task.kinds:
        found["image"] = unit(pictures(encoder, items))
    if "text" in task.kinds:
        found["text"] = unit(encoder.encode_texts([one.title for one in task.listings]))
    if "fused" in task.kinds:
        parts = [items[start : start + 64] for start in range(0, len(items), 64)]
        both = [encoder.encode_items([i.open_picture() for i in part], [i.text for i in part]) for part in parts]
        found["fused"] = unit(np.concatenate(both))
    return found


def measure(task: Task, encoder: Encoder | None, goals: Sequence[float] = GOALS) -> list[Figure]:
    """For each stated precision and way: the precision and the recall on test, beside those of equal titles."""
    vectors = vectors_of(task, encoder)
    ways: dict[str, list[Vectors]] = {
        way: [vectors[kind] for kind in kinds] for way, kinds in WAYS.items() if set(kinds) <= set(vectors)
    }
    titled = "text" in task.kinds
    if titled:
        ways["letters of the title"] = [letters([one.title for one in task.listings])]
    val = {way: pairs_of(task.listings, tables, "val", "test") for way, tables in ways.items()}
    test = {way: pairs_of(task.listings, tables, "test", "val") for way, tables in ways.items()}
    same, all_same = equal_titles(task.listings, "test", "val") if titled else (None, None)
    figures = [
        Figure("listings of validation", sum(o.split == "val" for o in task.listings), ""),
        Figure("listings of test", sum(o.split == "test" for o in task.listings), ""),
    ]
    for name, table in (("validation", val), ("test", test)):
        most = max(len(np.unique(pairs.groups[pairs.right])) for pairs in table.values())
        figures.append(Figure(f"products of {name} with a right pair", most, ""))
    if same is not None and all_same is not None:
        figures += [Figure("equal titles: precision", same, "%"), Figure("equal titles: recall", all_same, "%")]
    for goal in goals:
        reached: dict[str, float] = {}
        for way in ways:
            try:
                threshold = choose(val[way], goal)
            except BadInput as error:
                print(f"{way}: {error}", flush=True)
                continue
            if way in WAYS:
                reached[way] = threshold.recall
            figures += _checked(f"{way}, stated {goal:.0%}", test[way], threshold.score, goal, same, all_same)
        if reached:
            best = max(reached, key=lambda way: reached[way])
            score = choose(val[best], goal).score
            figures += _checked(f"chosen ({best}), stated {goal:.0%}", test[best], score, goal, same, all_same)
        else:
            figures.append(Figure(f"stated {goal:.0%}: refused; products needed at least", needed(goal), ""))
    return figures


def _checked(
    name: str, pairs: Pairs, score: float, goal: float, precision: float | None, recall: float | None
) -> list[Figure]:
    right, found, count = pairs.at(score)
    return [
        Figure(f"{name}: precision", 100 * right, "%", precision, f"at least {goal:.0%}", right >= goal),
        Figure(f"{name}: recall", 100 * found, "%", recall),
        Figure(f"{name}: pairs found", count, ""),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--data", type=Path, help="folder of a known layout; default: the sample")
    parser.add_argument("--encoder", type=Path, help="checkpoint; default: clip_style is trained on the train split")
    parser.add_argument("--cache", type=Path, help="folder of the feature cache")
    parser.add_argument("--size", type=int, help="products of the sample (default 800; quick 120)")
    parser.add_argument("--quick", action="store_true", help="small, and two epochs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="offers-") as temporary:
        folder = Path(temporary)
        try:
            if options.data:
                task = from_folder(options.data, options.quick)
            else:
                task = from_sample(folder / "sample", products=options.size or (120 if options.quick else 800))
            cache, path = options.cache or folder / "features", options.encoder
            if path is None and task.kinds != ("text",):
                path = folder / "encoder"
                items = [one.item for one in task.listings if one.item is not None and one.split != "test"]
                config = "clip_style_tiny" if options.quick else task.config
                train("clip_style", items, path, config=config, epochs=2 if options.quick else None, cache=cache)
            figures = measure(task, remembering(load(path, cache=cache)) if path else None)
        except BadInput as error:
            print(error)
            return 2
        write_figures(figures, options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
