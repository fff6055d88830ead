"""Texts with their structured entities, for encoders that read such: all given, half given, none, and unseen brands."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders import Encoder
from encoders.data import TrainItem
from encoders.evaluation.metrics import first_ranks
from encoders.evaluation.protocols import cross_modal, rank_figures
from encoders.protocol import Entities, entity_encoder, takes_entities

__all__ = ["BESIDE_TEXTS", "described", "described_figures", "described_items", "half", "rebranded"]

BESIDE_TEXTS = (
    "given to encoders that take them, beside the text: brand, each level of the category, and the attributes of the "
    "column map; the others read the text alone"
)


def described(encoder: Encoder, items: Sequence[TrainItem]) -> NDArray[np.float32]:
    """(N, dim) of the items' texts, with all their entities where the encoder takes such."""
    texts = [item.text for item in items]
    if not takes_entities(encoder):
        return encoder.encode_texts(texts)
    return entity_encoder(encoder).encode_texts(texts, [item.entities for item in items])


def described_items(encoder: Encoder, items: Sequence[TrainItem]) -> NDArray[np.float32]:
    """(N, dim) of pictures and texts together, with all entities where the encoder takes such."""
    images, texts = [item.open_picture() for item in items], [item.text for item in items]
    if not takes_entities(encoder):
        return encoder.encode_items(images, texts)
    return entity_encoder(encoder).encode_items(images, texts, [item.entities for item in items])


def described_figures(
    encoder: Encoder,
    items: Sequence[TrainItem],
    seen: NDArray[np.float32],
    scores: NDArray[np.float32],
    relevant: NDArray[np.bool_],
    cold: NDArray[np.bool_],
) -> dict[str, float]:
    """Figures of protocol 1 beside the main ones.

    `half/…`: half of each item's entities are given; `none/…`: titles alone; `cold/…`: queries of unseen brands against
    everything, all entities given; `cold/hidden/…`: the same, less the brands. `unseen/…`: every brand has a name that
    training has never met, in the text and in the entities; `unbranded/…`: brands are said nowhere.

    Args:
        encoder: any; one that takes no entities has only `cold/…`.
        items: N.
        seen: (N, dim) of their pictures.
        scores: (N, N), pictures by texts, of the main figures.
        relevant: (N, N).
        cold: (N,) items whose brand no training item has.
    """
    found = _cold("cold", scores, relevant, cold)
    if not takes_entities(encoder):
        return found
    reader, texts = entity_encoder(encoder), [item.text for item in items]
    asked: dict[str, tuple[Sequence[str], Sequence[Entities] | None]] = {
        "half": (texts, [half(item) for item in items]),
        "none": (texts, None),
    }
    if any(kind == "brand" for item in items for kind, _ in item.entities):
        for name, drop in (("unseen", False), ("unbranded", True)):
            others = [rebranded(item, drop=drop) for item in items]
            asked[name] = [text for text, _ in others], [given for _, given in others]
    for name, (said, given) in asked.items():
        figures = cross_modal(seen @ reader.encode_texts(said, given).T, relevant)
        found |= {f"{name}/{metric}": value for metric, value in figures.items()}
    if cold.any():
        hidden = [tuple(one for one in item.entities if one[0] != "brand") for item in items]
        table = np.where(cold, seen @ reader.encode_texts(texts, hidden).T, scores)
        found |= _cold("cold/hidden", table, relevant, cold)
    return found


def half(item: TrainItem) -> Entities:
    """Half of an item's entities, rounded up, drawn by its id: the same on every run."""
    order = np.random.default_rng(list(item.id.encode())).permutation(len(item.entities))
    return [item.entities[place] for place in sorted(order[: (len(order) + 1) // 2])]


def rebranded(item: TrainItem, *, drop: bool) -> tuple[str, Entities]:
    """Text and entities of an item whose brands have other names, each always the same, or (`drop`) are left away."""
    text, entities = item.text, []
    for kind, value in item.entities:
        if kind != "brand":
            entities.append((kind, value))
            continue
        name = "" if drop else _made_up(value)
        text = " ".join(re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", name, text, flags=re.IGNORECASE).split())
        if not drop:
            entities.append((kind, name))
    return text, entities


def _made_up(brand: str) -> str:
    """A name that no brand has, of three syllables."""
    number = zlib.crc32(brand.lower().encode())
    return "".join("bdfgklmn"[number >> 4 * i & 7] + "aeiou"[(number >> 4 * i + 13) % 5] for i in range(3))


def _cold(
    name: str, scores: NDArray[np.float32], relevant: NDArray[np.bool_], cold: NDArray[np.bool_]
) -> dict[str, float]:
    if not cold.any():
        return {}
    found: dict[str, float] = {}
    for way, table, wanted in (("i2t", scores, relevant), ("t2i", scores.T, relevant.T)):
        figures = rank_figures(way, first_ranks(table[cold], wanted[cold]))
        found |= {f"{name}/{metric}": value for metric, value in figures.items()}
    return found
