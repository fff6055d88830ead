"""How well the rest of a room is recommended from part of it.

    python -m benchmarks.recommendations --data DIR [--test-data DIR] [--encoder DIR] [--size N] [--quick] --out FILE

`--data` is a folder of the ikea set's layout: items.csv is the gallery, rooms.csv lists the products of each room. A
random half of a room's products is what somebody has looked at, the other half is relevant, all other items are not.
Rooms of validation (hash of the scene) choose between the ways to score; the table is that of the test rooms, or of
`--test-data`, whose rooms are all test. How often an item stands in rooms is never used: that is what is asked.
Without `--data` the scenes of the sample stand in, whose products are drawn at random: it runs, and finds little.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product as combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.companions import PAIRED as CHOSEN
from api.companions import Link, Reach, Related, companions, reached
from api.diversity import diversified
from benchmarks.figures import Figure, write_figures
from benchmarks.quality_answers import pictures, remembering, unit
from benchmarks.quality_data import item_of, kept, products_of
from benchmarks.quality_rooms import ROOMS
from encoders import Encoder, load
from encoders.data import TrainItem, split_of
from encoders.evaluation.metrics import average_precision, ndcg, recall
from encoders.training import train
from kg.catalogue.columns import ColumnMap
from kg.cooccurrence import Mentions, cooccurring
from kg.errors import BadInput
from kg.records import Product
from kg.sample import write_sample
from kg.similarity import mutual

__all__ = ["Case", "Room", "Task", "cases", "from_folder", "from_sample", "main", "measure"]

Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]
Scorer = Callable[[NDArray[np.int64]], Scores]

DRAWS = 5  # random halves of each room
LEAST = 4  # products of a room that is asked about
NEIGHBOURS, FAINTEST = 10, 0.1  # of co-occurrence edges, as the graph keeps them
PAIRED = (0.0, 0.03, 0.1, 0.3, 1.0)  # weight of a pair of entities beside a shared one
CONTENT = (0.03, 0.1, 0.3, 1.0)  # weight of content beside the graph
DIVERSITY = (0.1, 0.2, 0.4)
SHOWN = 10
POOL = 4 * SHOWN  # as in api/recommendations.py
CRITERION = "nDCG@10"


@dataclass(frozen=True)
class Room:
    name: str
    products: tuple[int, ...]  # places in the gallery
    test: bool


@dataclass(frozen=True)
class Task:
    """A gallery, what is trained on where no encoder is given, and the rooms."""

    gallery: list[Product]
    items: list[TrainItem]
    rooms: list[Room]


@dataclass(frozen=True)
class Case:
    """One half of a room, and the other."""

    room: str
    asked: NDArray[np.int64]
    wanted: NDArray[np.int64]


def from_folder(data: Path, test_data: Path | None, quick: bool) -> Task:
    gallery = [p for p in products_of(data, "items.csv", "ikea") if not quick or kept(p.id)]
    items = [item_of(data, p, p.text, "train") for p in gallery]
    rooms = list(_rooms(data, gallery, all_test=False))
    if test_data:
        known = {p.id for p in gallery}
        new = [p for p in products_of(test_data, "items.csv", "ikea")] if (test_data / "items.csv").is_file() else []
        gallery += [p for p in new if p.id not in known]
        items += [item_of(test_data, p, p.text, "test") for p in new if p.id not in known]
        rooms = [room for room in rooms if not room.test] + list(_rooms(test_data, gallery, all_test=True))
    return Task(gallery, items, rooms)


def _rooms(folder: Path, gallery: Sequence[Product], *, all_test: bool) -> Iterator[Room]:
    place = {p.id: at for at, p in enumerate(gallery)}
    for room in products_of(folder, "rooms.csv", ColumnMap.parse(ROOMS)):
        there = sorted({place[value] for _, value in room.attributes if value in place})
        yield Room(room.id, tuple(there), all_test or split_of(room.id) != "val")


def from_sample(folder: Path, quick: bool) -> Task:
    paths = write_sample(folder, products=60 if quick else 240)
    every = products_of(paths.table.parent, paths.table.name, ColumnMap.load(paths.map))
    first: dict[str, Product] = {}
    for product in every:
        if product.pictures and not product.pictures[0].uri.startswith("scenes/"):
            first.setdefault(product.identity, product)
    gallery = [*first.values()]
    place = {p.identity: at for at, p in enumerate(gallery)}
    rooms = []
    for number, line in enumerate(paths.scenes.read_text(encoding="utf-8").splitlines()):
        named = {place[i["identity"]] for i in json.loads(line)["instances"] if i["identity"] in place}
        rooms.append(Room(f"scene {number}", tuple(sorted(named)), number % 2 == 1))
    items = [item_of_sample(paths.images, p) for p in gallery]
    return Task(gallery, items, rooms)


def item_of_sample(images: Path, product: Product) -> TrainItem:
    from PIL import Image

    path = images / product.pictures[0].uri
    return TrainItem(product.id, product.identity, product.text, lambda: Image.open(path).convert("RGB"))


def cases(rooms: Sequence[Room], *, test: bool, least: int = LEAST) -> list[Case]:
    """Random halves, the same in every run; the smaller half is asked with."""
    found = []
    for room in rooms:
        if room.test is test and len(room.products) >= least:
            for draw in range(DRAWS):
                mixed = np.random.default_rng([draw, *room.name.encode()]).permutation(room.products)
                found.append(Case(room.name, mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]))
    return found


class Knowledge:
    """The gallery's entities, as the graph has them after `skugraph ingest` and `relate`."""

    def __init__(self, gallery: Sequence[Product]) -> None:
        self.ids = [product.id for product in gallery]
        self.place = {id: at for at, id in enumerate(self.ids)}
        bears: dict[str, list[str]] = {}
        texts: dict[str, tuple[str, str]] = {}
        for product in gallery:
            for key, kind, text in {(e.key, e.type, e.text) for e, _ in product.entities()}:
                bears.setdefault(key, []).append(product.id)
                texts[key] = kind, text
        self.bearers = bears
        relation = {"category": "IN_CATEGORY", "brand": "MADE_BY"}
        self.links: dict[str, list[Link]] = {id: [] for id in self.ids}
        for key, ids in bears.items():
            kind, text = texts[key]
            for id in ids:
                self.links[id].append(Link(key, kind, text, relation.get(kind, "HAS_ENTITY"), len(ids)))
        self.related = self._related(list(bears), texts)
        self._scored: dict[tuple[object, ...], Scores] = {}
        leaves = [(p.category or (f"none {at}",)) for at, p in enumerate(gallery)]
        self.leaves = np.array([" > ".join(leaf) for leaf in leaves])

    def _related(self, keys: list[str], texts: Mapping[str, tuple[str, str]]) -> dict[str, list[Related]]:
        number = {key: at for at, key in enumerate(keys)}
        rows = [sorted({number[link.key] for link in self.links[id]}) for id in self.ids]
        starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        mentions = Mentions(starts, np.array([at for row in rows for at in row], np.int32), len(keys))
        found: dict[str, list[Related]] = {}
        for a, b, weight in zip(*mutual(cooccurring(mentions, NEIGHBOURS), FAINTEST), strict=True):
            for one, other in ((keys[a], keys[b]), (keys[b], keys[a])):
                kind, text = texts[other]
                found.setdefault(one, []).append(Related(other, kind, text, len(self.bearers[other]), float(weight)))
        return found

    def scores(self, asked: NDArray[np.int64], paired: float, *, shared: bool = True, other: bool = True) -> Scores:
        """(N,) of api/companions.py, the largest 1; where `other`, products of a category that was asked with come
        after all others."""
        question = (tuple(asked.tolist()), paired, shared)
        if question not in self._scored:
            self._scored[question] = self._companions(asked, paired, shared)
        table = self._scored[question]
        return table - 2 * np.isin(self.leaves, self.leaves[asked]) if other else table

    def _companions(self, asked: NDArray[np.int64], paired: float, shared: bool) -> Scores:
        weights = {self.ids[at]: 1.0 for at in asked}
        entities = reached(weights, self.links, self.related, len(self.ids), paired=paired)
        found = companions([*(_pairs_only(entities) if not shared else entities).values()], self.bearers, weights)
        table = np.zeros(len(self.ids))
        for one in found:
            table[self.place[one.id]] = one.score
        return np.asarray(table / max(table.max(), 1e-12))


def _pairs_only(entities: Mapping[str, Reach]) -> dict[str, Reach]:
    rest = {k: Reach(k, e.text, e.df, [way for way in e.ways if way.weight is not None]) for k, e in entities.items()}
    return {key: entity for key, entity in rest.items() if entity.ways}


def judged(found: Sequence[Case], scorer: Scorer) -> dict[str, NDArray[np.float64]]:
    """Metric → one value for each case, per cent; equal scores in the order of the gallery."""
    values: dict[str, list[float]] = {"R@10": [], "nDCG@10": [], "mAP": []}
    for case in found:
        ranked = np.argsort(-scorer(case.asked), kind="stable")
        ranked = ranked[~np.isin(ranked, case.asked)]
        relevant, total = np.isin(ranked, case.wanted)[None], np.array([len(case.wanted)])
        values["R@10"].append(100 * recall(relevant, total, 10)[0])
        values["nDCG@10"].append(100 * ndcg(relevant, total, 10)[0])
        values["mAP"].append(100 * average_precision(relevant, total, relevant.shape[1])[0])
    return {name: np.array(some) for name, some in values.items()}


def scorers(task: Task, vectors: Mapping[str, Vectors]) -> dict[str, dict[str, Scorer]]:
    """Row of the table → its variants, of which validation chooses one."""
    known = Knowledge(task.gallery)
    tables = {name: (rows @ rows.T).astype(np.float64) for name, rows in vectors.items()}
    noise = np.random.default_rng(0).random((len(task.gallery), len(task.gallery)))

    def content(name: str, how: str, asked: NDArray[np.int64]) -> Scores:
        part = tables[name][asked]
        return np.asarray(part.max(axis=0) if how == "max" else part.mean(axis=0))

    def both(asked: NDArray[np.int64], paired: float, name: str, how: str, weight: float) -> Scores:
        return known.scores(asked, paired) + weight * content(name, how, asked)

    def varied(base: Scorer, diversity: float, asked: NDArray[np.int64]) -> Scores:
        table = base(asked).copy()
        table[asked] = -np.inf
        ranked = np.argsort(-table, kind="stable")
        pool = ranked[:POOL][table[ranked[:POOL]] > 0]
        order = diversified(table[pool].tolist(), vectors["picture"][pool], SHOWN, diversity) if len(pool) else []
        places = np.concatenate([pool[order], ranked[~np.isin(ranked, pool[order])]]).astype(np.int64)
        out = np.empty(len(table))
        out[places] = -np.arange(len(places))
        return out

    hows = ("mean", "max")
    found: dict[str, dict[str, Scorer]] = {
        "random": {"": lambda asked: noise[asked[0]]},
        **{f"content, {n}": {h: lambda q, n=n, h=h: content(n, h, q) for h in hows} for n in tables},  # type: ignore[misc]
        "graph, shared entities": {"": lambda q: known.scores(q, 0.0, other=False)},
        "graph, co-occurrence": {"": lambda q: known.scores(q, 1.0, shared=False, other=False)},
        "graph, shared, other categories": {"": lambda q: known.scores(q, 0.0)},
        "graph": {f"paired {p:g}": lambda q, p=p: known.scores(q, p) for p in PAIRED},  # type: ignore[misc]
        "graph and content": {
            f"paired {p:g}, {w:g} {n} {h}": lambda q, p=p, n=n, h=h, w=w: both(q, p, n, h, w)  # type: ignore[misc]
            for p, n, h, w in combinations((0.0, CHOSEN), tables, hows, CONTENT)
        },
    }
    for row, base in (("content", lambda q: content("item", "max", q)), ("graph", lambda q: known.scores(q, CHOSEN))):
        for d in DIVERSITY:
            found[f"{row}, diversity {d:g}"] = {"": lambda q, base=base, d=d: varied(base, d, q)}  # type: ignore[misc]
    return found


def vectors_of(items: Sequence[TrainItem], encoder: Encoder) -> dict[str, Vectors]:
    """Of the gallery's pictures, its texts, and both together."""
    parts = [items[start : start + 64] for start in range(0, len(items), 64)]
    both = [encoder.encode_items([i.open_picture() for i in part], [i.text for i in part]) for part in parts]
    return {
        "picture": unit(pictures(encoder, items)),
        "text": unit(encoder.encode_texts([item.text for item in items])),
        "item": unit(np.concatenate(both)),
    }


def measure(task: Task, vectors: Mapping[str, Vectors], *, least: int = LEAST) -> tuple[list[Figure], dict[str, str]]:
    """The figures, and what validation chose for each row."""
    val, test = cases(task.rooms, test=False, least=least), cases(task.rooms, test=True, least=least)
    if not val or not test:
        raise BadInput(f"{len(val)} and {len(test)} halves of rooms of validation and of test: both are needed")
    chosen: dict[str, str] = {}
    on_val: dict[str, float] = {}
    on_test: dict[str, dict[str, NDArray[np.float64]]] = {}
    for row, variants in scorers(task, vectors).items():
        tried = {name: float(judged(val, scorer)[CRITERION].mean()) for name, scorer in variants.items()}
        chosen[row] = max(tried, key=lambda name: tried[name])
        on_val[row] = tried[chosen[row]]
        on_test[row] = judged(test, variants[chosen[row]])
        print(f"{row}: {chosen[row] or 'one way'}, {CRITERION} of validation {on_val[row]:.2f}", flush=True)
    plain = max((row for row in on_val if row in {f"content, {name}" for name in vectors}), key=lambda row: on_val[row])
    figures = []
    for row, values in on_test.items():
        for name, some in values.items():
            baseline = float(on_test[plain][name].mean())
            met = float(some.mean()) > baseline if row == "graph" else None
            goal = "above the best content similarity" if row == "graph" else ""
            figures.append(Figure(f"{row}: {name}", float(some.mean()), "%", baseline, goal, met))
    gains = on_test["graph"][CRITERION] - on_test[plain][CRITERION]
    figures.append(
        Figure(f"graph less {plain}: {CRITERION}, 95 % of rooms drawn again above", _above(test, gains), "%")
    )
    figures += [
        Figure("rooms of validation", len({c.room for c in val}), ""),
        Figure("rooms of test", len({c.room for c in test}), ""),
    ]
    return [*figures, Figure("gallery", len(task.gallery), "items")], chosen


def _above(found: Sequence[Case], gains: NDArray[np.float64]) -> float:
    """The 5th percentile of the mean gain over rooms drawn again 2,000 times."""
    names = np.array([case.room for case in found])
    rooms = np.array([gains[names == name].mean() for name in sorted(set(names))])
    draws = np.random.default_rng(0).integers(0, len(rooms), (2000, len(rooms)))
    return float(np.percentile(rooms[draws].mean(axis=1), 5))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recommendations", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument(
        "--data", type=Path, help="folder with items.csv, rooms.csv and images.zip; default: the sample"
    )
    parser.add_argument("--test-data", type=Path, help="folder whose rooms are all test")
    parser.add_argument("--encoder", type=Path, help="checkpoint; default: clip_style is trained on the items")
    parser.add_argument("--cache", type=Path, help="folder of the feature cache")
    parser.add_argument("--size", type=int, default=LEAST, help=f"least products of a room (default {LEAST})")
    parser.add_argument("--quick", action="store_true", help="one item in ten, two epochs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="recommendations-") as temporary:
        folder = Path(temporary)
        if options.data:
            task = from_folder(options.data, options.test_data, options.quick)
        else:
            task = from_sample(folder / "sample", options.quick)
        least = 2 if options.quick or not options.data else options.size
        cache = options.cache or folder / "features"
        path = options.encoder
        if path is None:
            path = folder / "encoder"
            config = "clip_style_tiny" if options.quick else "clip_style"
            train("clip_style", task.items, path, config=config, epochs=2 if options.quick else None, cache=cache)
        try:
            vectors = vectors_of(task.items, remembering(load(path, cache=cache)))
            figures, _ = measure(task, vectors, least=least)
        except BadInput as error:
            print(error)
            return 2
        write_figures(figures, options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
