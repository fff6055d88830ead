"""Protocol 2: a photo of a room to the products in it (Product1M's task: a query of several products, a gallery of
single ones). No room is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality_answers import Photos, answer, methods, pictures, score, see
from benchmarks.quality_choice import WHOLE, Found, Measured, Way
from benchmarks.quality_data import Benchmark, item_of, kept, products_of, with_pictures
from benchmarks.quality_described import BESIDE_TEXTS, described, described_items
from encoders import Encoder
from encoders.data import TrainItem, split_of
from encoders.evaluation.metrics import average_precision, ndcg, recall
from encoders.evaluation.product1m import NS, crowded, product1m
from kg.catalogue.columns import ColumnMap
from kg.errors import BadInput

__all__ = ["CRITERION", "figures_of", "rooms"]

CRITERION = "p1m_script/mAP@10"
SEVERAL_PRODUCTS = ("scenes",)  # every encoder trains on composed scenes too; who answers by regions, its config says
WEIGHTS = (1.0, 0.5, 0.25)  # of the room's type beside its photo
ROOMS = {
    "fields": {"id": "scene", "title": "room_type", "pictures": "file"},
    "attributes": {"product": "product_ids"},
    "separators": {"product": " "},
}


@dataclass(frozen=True)
class Room:
    """A question: its photo, what kind of room it is, and the gallery items in it."""

    photo: TrainItem
    kind: str
    labels: tuple[str, ...]


def rooms(data: Path, test_data: Path | None, quick: bool) -> Benchmark:
    """Protocol 2. Gallery: all items of `data`, and those of `test_data` where it has its own; relevant: the products
    that the room lists.

    Raises:
        BadInput: no room to test on.
    """
    known = list(products_of(data, "items.csv", "ikea"))
    shown, unread = with_pictures(data, [p for p in known if not quick or kept(p.id)])
    items = {p.id: item_of(data, p, p.text, "train") for p in shown}
    gallery = dict(items)
    if test_data and (test_data / "items.csv").is_file():
        more, others = with_pictures(test_data, list(products_of(test_data, "items.csv", "ikea")))
        gallery |= {p.id: item_of(test_data, p, p.text, "test") for p in more}
        unread += others
    own, other = _rooms(data, gallery), _rooms(test_data, gallery) if test_data else None
    val = [room for room in own.asked if split_of(room.photo.key) == "val"]
    test = other.asked if other else [room for room in own.asked if split_of(room.photo.key) != "val"]
    if not test:
        raise BadInput(f"{test_data or data} has no room to test on, with a picture and a product of the gallery")
    there = [*gallery.values()]

    def measure(encoder: Encoder) -> Measured:
        return _measure(encoder, there, val, test)

    used = other or own
    return Benchmark(
        "rooms",
        list(items.values()),
        measure,
        {
            "text": "title and description; of a room its type",
            "structured entities": f"of the gallery: {BESIDE_TEXTS}; of a room none",
            "split": "items: all train; rooms by hash of scene: val 20 to 29, "
            + (f"test: all of {test_data}" if test_data else "test the others"),
            "gallery items": len(gallery),
            "items without a picture that can be read": unread,
            "test rooms": len(test),
            "val rooms": len(val),
            "rooms without a known product": used.skipped,
            "rooms without a picture that can be read": used.unread,
            "products that are not in the gallery": used.unknown,
            "rooms with more products than places (each class has one place in mAR)": {
                f"@{n}": crowded({room.photo.id: room.labels for room in test}, n) for n in NS
            },
        },
        criterion=CRITERION,
        changes=SEVERAL_PRODUCTS,
    )


@dataclass(frozen=True)
class _Rooms:
    asked: list[Room]
    skipped: int
    unread: int
    unknown: int


def _rooms(folder: Path, gallery: dict[str, TrainItem]) -> _Rooms:
    found, skipped, unread, unknown = [], 0, 0, 0
    for product in products_of(folder, "rooms.csv", ColumnMap.parse(ROOMS)):
        wanted = [value for _, value in product.attributes]
        labels = tuple(label for label in wanted if label in gallery)
        unknown += len(wanted) - len(labels)
        if not labels:
            skipped += 1
            continue
        try:  # now, and not after an hour of training
            photo = item_of(folder, product, product.title, "test")
            photo.open_picture()
        except (BadInput, OSError):
            unread += 1
            continue
        found.append(Room(photo, product.title or "unknown", labels))
    return _Rooms(found, skipped, unread, unknown)


def _measure(encoder: Encoder, gallery: Sequence[TrainItem], val: Sequence[Room], test: Sequence[Room]) -> Measured:
    ids = [item.id for item in gallery]
    vectors = _gallery(encoder, gallery)
    asked = [*val, *test]
    photos = see(encoder, [room.photo for room in asked])
    kinds = sorted({room.kind for room in asked})
    said = dict(zip(kinds, encoder.encode_texts(kinds), strict=True))
    texts = np.stack([said[room.kind] for room in asked])
    fused = Photos(_fused(encoder, asked))
    ways: dict[Way, Found] = {}
    for gallery_name, shown in vectors.items():
        together = score(fused, shown).whole  # what the encoder itself makes of photo and type
        for question, weight in (("room", 0.0), *(("room+type", weight) for weight in WEIGHTS)):
            scored = score(photos, shown, texts=texts if weight else None, weight=weight)
            for method, limit in methods(photos):
                table = together if method == WHOLE and weight == 1 else answer(scored, method, limit)
                ranked = np.argsort(-table, axis=1, kind="stable")
                on_val = figures_of(ranked[: len(val)], val, ids) if val else {}
                way = Way(question, method, limit, gallery_name, weight)
                ways[way] = Found(figures_of(ranked[len(val) :], test, ids), on_val)
    return Measured(ways)


def _gallery(encoder: Encoder, items: Sequence[TrainItem]) -> dict[str, NDArray[np.float32]]:
    parts = [items[start : start + 64] for start in range(0, len(items), 64)]
    return {
        "item": np.concatenate([described_items(encoder, part) for part in parts]),
        "picture": pictures(encoder, items),
        "text": described(encoder, items),
    }


def _fused(encoder: Encoder, asked: Sequence[Room]) -> NDArray[np.float32]:
    parts = [asked[start : start + 64] for start in range(0, len(asked), 64)]
    return np.concatenate(
        [encoder.encode_items([r.photo.open_picture() for r in part], [r.kind for r in part]) for part in parts]
    )


def figures_of(ranked: NDArray[np.int64], asked: Sequence[Room], ids: Sequence[str]) -> dict[str, float]:
    """Per cent, over all rooms and (`type/Kitchen/…`, two metrics) over those of each type.

    Args:
        ranked: (Q, G) columns of the gallery, best first.
        asked: the Q rooms.
        ids: of the gallery.
    """
    lists = {room.photo.id: [ids[column] for column in row[: max(NS)]] for room, row in zip(asked, ranked, strict=True)}
    labels = {room.photo.id: room.labels for room in asked}
    single = dict(zip(ids, ids, strict=True))  # each item is a class of its own
    column = {id: number for number, id in enumerate(ids)}
    relevant = np.zeros(ranked.shape, bool)
    for row, room in zip(relevant, asked, strict=True):
        row[[column[label] for label in room.labels]] = True
    found, total = np.take_along_axis(relevant, ranked, axis=1), relevant.sum(axis=1)
    plain = {
        "mAP": average_precision(found, total, found.shape[1]),
        "mAP@10": average_precision(found, total, 10),
        "R@10": recall(found, total, 10),
        "R@50": recall(found, total, 50),
        "nDCG@10": ndcg(found, total, 10),
    }
    figures = product1m(lists, labels, single) | {name: 100 * float(v.mean()) for name, v in plain.items()}
    for kind in sorted({room.kind for room in asked}):
        chosen = [room.photo.id for room in asked if room.kind == kind]
        some = product1m({q: lists[q] for q in chosen}, {q: labels[q] for q in chosen}, single, ns=(10,))
        names = (CRITERION, "p1m_normalised/mAP@10")
        figures |= {f"type/{kind}/{name}": some[name] for name in names}
    return figures
