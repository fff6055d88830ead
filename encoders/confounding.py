"""Confounding entities: those whose pretrained meaning misleads ("diesel", a brand of jeans). Selection on training
items alone, after the operational form of EI-CLIP in docs/ei_clip.md; the published score and rule are not known.

The default backbones share no space, so the *pretrained reading* of a text is its pooled frozen tokens, mapped into the
space of the pooled frozen pictures by a ridge regression over all training pairs. Two scores say how far that misleads:

    mismatch(e)     = 1 − cos(reading of e's own text, mean picture of the items that have e − mean of all)
    drop_in_loss(e) = E over items whose caption names e of L(caption, picture) − L(caption without e, picture)

with L the symmetric InfoNCE of readings in random batches: positive where the reading of e hurts. Light: importing this
does not import torch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from kg.errors import BadInput, NotFound

__all__ = [
    "FILE",
    "Confounding",
    "PretrainedReading",
    "choose",
    "drop_in_loss",
    "fit_reading",
    "mismatch",
    "read_confounding",
    "sampled",
    "write_confounding",
]

FILE = "confounding.json"  # of a checkpoint
SCALE = 1 / 0.07  # of the cosines in the loss: what CLIP starts with
BATCH = 256
AXES, SAMPLE = 256, 4096  # principal components of pictures, and how many pictures they come from

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Confounding:
    """A structured entity of the training items.

    Attributes:
        key: as in the graph, `type:normalised value`.
        type: brand, category, colour, …
        text: as it would be said; of a category the last part of its path.
        df: training items that have it.
        mismatch: 0 … 2; see the module.
        drop_in_loss: in nats; None where no caption names it.
        chosen: it is read anew, and masked in captions.
    """

    key: str
    type: str
    text: str
    df: int
    mismatch: float = 0.0
    drop_in_loss: float | None = None
    chosen: bool = False


def read_confounding(folder: Path) -> list[Confounding]:
    """The entities of a checkpoint with their scores.

    Raises:
        NotFound: it has none.
        BadInput: the file is broken.
    """
    path = folder / FILE
    if not path.is_file():
        raise NotFound(f"{folder} knows no confounding entities: it has no {FILE}", hint="`skugraph train ei_clip`")
    try:
        return [Confounding(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path} is no list of entities: {error!r}", hint="train the encoder again") from error


def write_confounding(folder: Path, rows: Sequence[Confounding]) -> None:
    """What `read_confounding` reads."""
    new = folder / f"{FILE}.new"
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    new.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    os.replace(new, folder / FILE)


@dataclass(frozen=True)
class PretrainedReading:
    """Pooled frozen texts into the space of pooled frozen pictures, both centred.

    Attributes:
        text_mean: (V,).
        picture_mean: (W,).
        axes: (W, D), principal components of the pictures.
        weights: (V, D).
    """

    text_mean: Floats
    picture_mean: Floats
    axes: Floats
    weights: Floats

    def texts(self, pooled: Floats) -> Floats:
        """(N, V) to (N, D), unit rows."""
        return _unit((pooled - self.text_mean) @ self.weights)

    def pictures(self, pooled: Floats) -> Floats:
        """(N, W) to (N, D): what they are beside the mean of all; not of unit length."""
        return ((pooled - self.picture_mean) @ self.axes).astype(np.float32)


def fit_reading(texts: Floats, pictures: Floats, *, ridge: float = 0.1) -> PretrainedReading:
    """The regression in closed form.

    Args:
        texts: (N, V) of the training pairs.
        pictures: (N, W).
        ridge: share of the mean variance of the texts that is added to each.
    """
    text_mean, picture_mean = texts.mean(axis=0), pictures.mean(axis=0)
    some = pictures[np.linspace(0, len(pictures) - 1, min(len(pictures), SAMPLE)).astype(np.int64)] - picture_mean
    width = some.shape[1]
    axes = linalg.eigh(some.T @ some, subset_by_index=(max(width - AXES, 0), width - 1))[1].astype(np.float32)
    x, y = texts - text_mean, (pictures - picture_mean) @ axes
    square = x.T.astype(np.float64) @ x
    square += np.eye(len(square)) * max(ridge * np.trace(square) / len(square), 1e-9)
    return PretrainedReading(text_mean, picture_mean, axes, np.linalg.solve(square, x.T @ y).astype(np.float32))


def mismatch(said: Floats, pictures: Floats, members: Sequence[NDArray[np.int64]]) -> Floats:
    """(E,).

    Args:
        said: (E, D) readings of the entities' own texts, unit rows.
        pictures: (N, D) of `PretrainedReading.pictures`.
        members: of each entity the rows of the items that have it, one at least.
    """
    seen = np.stack([pictures[rows].mean(axis=0) for rows in members]) if len(members) else np.empty_like(said)
    return (1 - (said * _unit(seen)).sum(axis=1)).astype(np.float32)


def sampled(named: Sequence[NDArray[np.int64]], most: int) -> list[NDArray[np.int64]]:
    """Of each entity's rows so many, drawn at random; the same for the same rows."""
    return [np.sort(np.random.default_rng(number).permutation(rows)[:most]) for number, rows in enumerate(named)]


def drop_in_loss(
    named: Sequence[NDArray[np.int64]],
    without: Callable[[int, NDArray[np.int64]], Floats],
    texts: Floats,
    pictures: Floats,
    identity: NDArray[np.int64],
) -> list[float | None]:
    """Of each entity; None where no caption names it. The same for the same items, whatever the machine.

    Args:
        named: of each entity the rows of items whose caption names it, all or some (`sampled`).
        without: readings, unit rows, of the captions of these rows without this entity.
        texts: (N, D) readings of the whole captions, unit rows.
        pictures: (N, D), unit rows.
        identity: (N, 2): items that share a number are no negatives of each other.
    """
    found: list[float | None] = []
    for number, rows in enumerate(named):
        others = np.random.default_rng(number).integers(len(texts), size=BATCH - 1)
        if not len(rows):
            found.append(None)
            continue
        same = (identity[rows][:, None] == identity[others][None]).any(axis=2)
        given = (pictures[rows], texts[others], pictures[others], same)
        found.append(float((_losses(texts[rows], *given) - _losses(without(number, rows), *given)).mean()))
    return found


def choose(
    rows: Sequence[Confounding], *, score: str, rule: str = "share", share: float = 0.5, threshold: float = 0.0,
    seed: int = 0,
) -> list[Confounding]:  # fmt: skip
    """The rows with `chosen` set.

    Args:
        rows: with both scores.
        score: which of them ranks: "mismatch", "drop_in_loss"; "random": the mismatches of each type dealt out anew,
            so that as many of each type are chosen; "all", "none".
        rule: "share": of each type the highest; "positive": what is above the threshold. An entity without a score is
            not chosen.
        share: of a type's entities, rounded up.
        threshold: of the rule "positive".
        seed: of "random".
    """
    if score in ("all", "none"):
        return [replace(row, chosen=score == "all") for row in rows]
    values = [row.drop_in_loss if score == "drop_in_loss" else row.mismatch for row in rows]
    types: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        types.setdefault(row.type, []).append(place)
    taken: set[int] = set()
    for number, places in enumerate(types.values()):
        if score == "random":
            dealt = np.random.default_rng([seed, number]).permutation(places)
            given = {int(place): values[old] for place, old in zip(dealt, places, strict=True)}
        else:
            given = {place: values[place] for place in places}
        scored = [place for place in places if given[place] is not None]
        if rule == "share":
            scored.sort(key=lambda place: (-float(given[place] or 0.0), rows[place].key))
            taken |= set(scored[: math.ceil(share * len(places))])
        else:
            taken |= {place for place in scored if float(given[place] or 0.0) > threshold}
    return [replace(row, chosen=place in taken) for place, row in enumerate(rows)]


def _losses(
    own: Floats, pictures: Floats, texts: Floats, other_pictures: Floats, same: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(n,) symmetric InfoNCE of pairs, each in a batch with the same others, those like it left out."""
    pair = SCALE * (own * pictures).sum(axis=1, dtype=np.float64)
    total = np.zeros(len(own))
    for asked, others in ((own, other_pictures), (pictures, texts)):
        table = np.where(same, -np.inf, SCALE * (asked @ others.T).astype(np.float64))
        table = np.concatenate([pair[:, None], table], axis=1)
        top = table.max(axis=1)
        total += np.log(np.exp(table - top[:, None]).sum(axis=1)) + top - pair
    return total / 2


def _unit(rows: NDArray[np.floating]) -> Floats:
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
