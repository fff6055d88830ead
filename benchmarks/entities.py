"""Which entities captions give away: precision and recall of mined phrases, beside the plain ways to find words.

    python -m benchmarks.entities [--data DIR] [--test-data DIR] [--part test] [--size N] [--quick] --out FILE

A data set with `labels` (Product1M's listings: title, labels "brand product" joined by `#;#`) is asked for the words of
the labels and for their brands; one with `brand`, `cat3` and `colour` (a shop with structured fields, hidden here) for
the values of these fields. Only what stands in the title can be found and is asked for. Thresholds are chosen on train
and validation; the figures are those of the test part. Phrases come from all captions, whose labels nobody looks at
(a catalogue's way), and once more from those of train and validation alone ("unseen": an encoder's way). Without
--data the captions are those of the project's own sample shops.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.figures import Figure, write_figures
from encoders.data import split_of
from kg.errors import BadInput, SkugraphError
from kg.mining import dictionary, fold, mine, tag
from kg.records import content_hash
from kg.sample.captions import title
from kg.sample.designs import invent
from kg.words import stretches

__all__ = ["Caption", "Extractor", "captions_of", "extractors", "main", "measure", "sample_captions", "scores", "tenth"]

LABELS = "#;#"
QUICK = 10
SIDES = ("precision", "recall", "f1")
FIELDS = {"brand": "brand", "cat3": "article type", "colour": "colour"}

Extractor = Callable[[str], Iterable[str]]  # a caption to the texts of its entities


@dataclass(frozen=True)
class Caption:
    """A title and what can be found in it.

    Attributes:
        key: captions of one key describe the same product, and fall into the same part.
        words: of labels, of two letters or more, that stand in the title; empty where there are no labels.
        values: kind ("brand", "colour", …) → folded values that stand in the title.
    """

    text: str
    key: str
    words: frozenset[str] = frozenset()
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)


def captions_of(folder: Path) -> list[Caption]:
    """The captions of `items.csv`.

    Raises:
        BadInput: no such table, or one without labels and without fields to ask for.
    """
    table = folder / "items.csv"
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise BadInput(f"no table at {table}: {error.strerror}") from error
    if rows and "title" not in rows[0]:
        raise BadInput(f"{table} has no column `title`; there are {sorted(rows[0])}")
    if rows and "labels" not in rows[0] and not FIELDS.keys() & rows[0].keys():
        raise BadInput(f"{table} has neither `labels` nor any of {sorted(FIELDS)}: nothing to compare with")
    return [_labelled(row) if "labels" in row else _structured(row) for row in rows]


def sample_captions(size: int) -> list[Caption]:
    """Titles of so many products of the sample shops, three each."""
    found = []
    for design in invent(7, size):
        chance = random.Random(f"title:{design.gtin}")
        values = {"brand": design.brand.name, "article type": design.kind.name, "scent": design.scent}
        for text in (title(design, chance) for _ in range(3)):
            there = _runs(text)
            found.append(
                Caption(text, design.gtin, values={k: frozenset({fold(v)} & there) for k, v in values.items()})
            )
    return found


def tenth(captions: Sequence[Caption]) -> list[Caption]:
    """Those of one key in ten, the same on every run."""
    return [one for one in captions if int(content_hash(one.key), 16) % QUICK == 0]


def _labelled(row: Mapping[str, str]) -> Caption:
    labels = [label for label in row["labels"].split(LABELS) if label.strip()]
    there = _runs(row["title"])
    words = {word for label in labels for part in stretches(label) for word in part if len(word) > 1}
    brands = frozenset(fold(label.split()[0]) for label in labels) - {""}
    title = fold(row["title"])
    return Caption(
        row["title"],
        LABELS.join(sorted(set(labels))) or row["title"],
        frozenset(word for word in words if fold(word) in (title if not word.isascii() else there)),
        {"brand": frozenset(brand for brand in brands if brand in (title if not brand.isascii() else there))},
    )


def _structured(row: Mapping[str, str]) -> Caption:
    there = _runs(row["title"])
    values = {name: frozenset({fold(row.get(column) or "")} & there) for column, name in FIELDS.items()}
    return Caption(row["title"], row.get("instance_id") or row.get("id") or row["title"], values=values)


def _runs(text: str) -> set[str]:
    """Every run of up to five words, folded."""
    return {
        fold("".join(words[at : at + size]))
        for words in stretches(text)
        for at in range(len(words))
        for size in range(1, 6)
    } - {""}


def extractors(captions: Sequence[str]) -> dict[str, Extractor]:
    """Name → a way to find entities, learnt from these captions."""
    phrases = dictionary(mined := mine(captions))
    texts = {one.key: one.text for one in mined}

    def found(caption: str, most: int) -> list[str]:
        return [texts[key] for key in tag(phrases, caption, most=most)]

    counts = Counter(run for caption in captions for run in set(_runs(caption)))
    return {
        "mined": lambda caption: found(caption, 15),
        "mined_5": lambda caption: found(caption, 5),
        "words": lambda caption: [word for part in stretches(caption) for word in part if len(word) > 1],
        "ngrams": lambda caption: [run for run in _runs(caption) if counts[run] > 1],
    }


def scores(captions: Sequence[Caption], extract: Extractor) -> dict[str, float]:
    """`label/precision` …, `brand/recall` … in per cent, over all captions together.

    Label words: entities are cut into words, words are compared. Values: an entity counts when it is the value, whole,
    but for accents, punctuation and spaces; `values` is all kinds at once, the only precision that is fair to
    entities of another kind.
    """
    tallies: dict[str, list[int]] = {}

    def count(name: str, predicted: frozenset[str] | set[str], wanted: frozenset[str] | set[str]) -> None:
        tally = tallies.setdefault(name, [0, 0, 0])
        for place, n in enumerate((len(predicted & wanted), len(predicted), len(wanted))):
            tally[place] += n

    for caption in captions:
        texts = list(extract(caption.text))
        whole = {fold(text) for text in texts} - {""}
        if caption.words:
            words = {word for text in texts for part in stretches(text) for word in part if len(word) > 1}
            count("label", words, caption.words)
        for kind, values in caption.values.items():
            count(kind, whole, values)
        if len(caption.values) > 1:
            count("values", whole, frozenset().union(*caption.values.values()))
    figures = {"entities/mean": sum(len(set(extract(one.text))) for one in captions) / max(1, len(captions))}
    for name, (both, predicted, wanted) in tallies.items():
        precision, recall = both / max(1, predicted), both / max(1, wanted)
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        figures |= {f"{name}/{side}": 100 * value for side, value in zip(SIDES, (precision, recall, f1), strict=True)}
    return figures


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        captions = captions_of(options.data) if options.data else sample_captions(options.size)
        tested = captions_of(options.test_data) if options.test_data else None
        if options.quick:
            captions, tested = tenth(captions), tested and tenth(tested)
        figures, seconds = measure(captions, tested, options.part)
    except SkugraphError as error:
        print(error)
        return 2
    write_figures([*_beside(figures), *seconds], options.out)
    return 0


def measure(
    captions: Sequence[Caption], tested: Sequence[Caption] | None = None, part: str = "test"
) -> tuple[dict[str, dict[str, float]], list[Figure]]:
    """Figures of each extractor, and what mining cost.

    Args:
        captions: of which some are test, by hash of their key.
        tested: all of them test, instead of those.
        part: "test", or "val" for the choice of thresholds: train and validation, nothing of test.

    Raises:
        BadInput: no caption in the part.
    """
    known = [one for one in captions if split_of(one.key) != "test"]
    asked = known if part == "val" else tested or [one for one in captions if split_of(one.key) == "test"]
    if not asked:
        raise BadInput(f"none of {len(captions)} captions falls into the part {part!r}")
    seen = [one.text for one in (known if part == "val" else [*known, *asked])]
    began = time.monotonic()
    count = len(mine(seen))
    took = time.monotonic() - began
    learnt = extractors(seen)
    if part == "test":
        learnt["mined_unseen"] = extractors([one.text for one in known])["mined"]
    return {name: scores(asked, extract) for name, extract in learnt.items()}, [
        Figure("captions asked", len(asked), "captions"),
        Figure("phrases mined", count, "phrases"),
        Figure("captions mined a second", len(seen) / took, "captions/s"),
        Figure("memory", psutil.Process().memory_info().rss / 1e6, "MB"),
    ]


def _beside(figures: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """Each figure of the mined phrases beside all words of the title, and of the other ways beside none."""
    found = []
    for name, values in figures.items():
        for metric, value in values.items():
            baseline = figures["words"][metric] if name.startswith("mined") else None
            goal = "above all words" if name == "mined" and metric.endswith("/f1") else ""
            met = value > baseline if goal and baseline is not None else None
            unit = "entities" if metric == "entities/mean" else "%"
            found.append(Figure(f"{name} {metric}", value, unit, baseline, goal, met))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.entities", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with items.csv")
    parser.add_argument("--test-data", type=Path, help="folder of the same layout whose rows are all test")
    parser.add_argument("--part", choices=("test", "val"), default="test", help="val: to choose thresholds by")
    parser.add_argument("--size", type=int, default=240, help="products of the sample, where there is no --data")
    parser.add_argument("--quick", action="store_true", help="a tenth of the captions")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
