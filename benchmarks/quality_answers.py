"""What an encoder makes of photos, and how it scores a gallery for each of them: as a whole, or region by region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from api.merging import merge
from benchmarks.quality_choice import WHOLE
from encoders import Encoder
from encoders.backbones import TextBackbone, TextTokens
from encoders.data import TrainItem
from encoders.dual import DualEncoder
from encoders.protocol import region_encoder

__all__ = [
    "DEPTH",
    "LIMITS",
    "Photos",
    "Scored",
    "answer",
    "methods",
    "pictures",
    "remembering",
    "score",
    "see",
    "unit",
]

BATCH = 64  # photos open at a time
LIMITS = (36, 12)  # regions of a photo: as many as the papers have, and a third
TOP = 5  # of `mean_top`
DEPTH = 100  # places that the lists take in turn; what follows goes by its best score

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Photos:
    """Q photos as vectors.

    Attributes:
        whole: (Q, dim).
        regions: (N_i, dim) of each, the likeliest product first; a photo without any has its whole; None: the encoder
            has no detector.
    """

    whole: Vectors
    regions: list[Vectors] | None = None


class RememberedTexts:
    """A frozen text backbone that computes the tokens of a text once a process, whatever number of encoders read them:
    all towers of a run stand on the same one."""

    known: ClassVar[dict[tuple[str, str], Tensor]] = {}

    def __init__(self, backbone: TextBackbone) -> None:
        self._backbone = backbone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def tokens(self, texts: Sequence[str]) -> TextTokens:
        keys = [(self._backbone.fingerprint, text) for text in texts]
        if new := sorted({text for key, text in keys if (key, text) not in self.known}, key=len):
            features, mask = self._backbone.tokens(new)
            for text, some, there in zip(new, features, mask, strict=True):
                self.known[self._backbone.fingerprint, text] = some[there]
        found = [self.known[key] for key in keys]
        lengths = torch.tensor([len(some) for some in found], device=found[0].device)
        features = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)
        return TextTokens(features, torch.arange(features.shape[1], device=features.device) < lengths[:, None])


def remembering(encoder: Encoder) -> Encoder:
    """The same encoder; the tokens of texts that were read before are not computed again."""
    if isinstance(encoder, DualEncoder):
        return replace(encoder, text_backbone=RememberedTexts(encoder.text_backbone))
    return encoder


def pictures(encoder: Encoder, items: Sequence[TrainItem]) -> Vectors:
    """(N, dim) of the items' pictures."""
    parts = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
    empty = np.empty((0, encoder.dim), np.float32)
    return np.concatenate([empty, *(encoder.encode_images([item.open_picture() for item in part]) for part in parts)])


def see(encoder: Encoder, items: Sequence[TrainItem]) -> Photos:
    """The items' pictures as photos of several products."""
    if getattr(encoder, "detector", None) is None:
        return Photos(pictures(encoder, items))
    finder = region_encoder(encoder)
    whole, regions = [np.empty((0, encoder.dim), np.float32)], []
    for start in range(0, len(items), BATCH):
        images = [item.open_picture() for item in items[start : start + BATCH]]
        whole.append(finder.encode_images(images))
        boxes = [found.boxes for found in finder.propose(images, limit=max(LIMITS))]
        found = finder.encode_regions(images, boxes)
        regions += [some if len(some) else all_[None] for some, all_ in zip(found, whole[-1], strict=True)]
    return Photos(np.concatenate(whole), regions)


def methods(photos: Photos, *, several: bool = True) -> list[tuple[str, int]]:
    """(method, limit) that these photos can be answered by, regions first where there are any; a photo that asks for
    one product, not for several, has no use for lists that take turns."""
    names = [name for name in ("max_score", "mean_top", "round_robin") if several or name != "round_robin"]
    merged = [(name, limit) for name in names for limit in LIMITS]
    return [*(merged if photos.regions is not None else ()), (WHOLE, 0)]


@dataclass(frozen=True)
class Scored:
    """Similarities of Q photos to G things: the whole photo (Q, G), and each of its regions, (N_i, G)."""

    whole: NDArray[np.float32]
    regions: list[NDArray[np.float32]]

    @cached_property
    def heads(self) -> list[NDArray[np.int64]]:
        """(N_i, DEPTH) columns of the best of each region."""
        return [np.argsort(-table, axis=1, kind="stable")[:, :DEPTH] for table in self.regions]


def score(photos: Photos, gallery: Vectors, *, texts: Vectors | None = None, weight: float = 0.0) -> Scored:
    """Everything against everything, in one product.

    Args:
        photos: the questions.
        gallery: (G, dim).
        texts: (Q, dim), what is said beside each photo.
        weight: of the text's vector, added to that of the photo and of each region.
    """
    whole, regions = photos.whole, photos.regions or []
    if texts is not None:
        whole = unit(whole + weight * texts)
        regions = [unit(vectors + weight * text) for vectors, text in zip(regions, texts, strict=bool(regions))]
    if not regions:
        return Scored(whole @ gallery.T, [])
    table = np.concatenate(regions) @ gallery.T
    return Scored(whole @ gallery.T, np.split(table, np.cumsum([len(vectors) for vectors in regions])[:-1]))


def answer(scored: Scored, method: str, limit: int) -> NDArray[np.float32]:
    """(Q, G): higher is better. Those of `round_robin` are places, from −1 down.

    Args:
        scored: of the photos.
        method: "whole", or one of `api.merging`.
        limit: most regions of a photo.
    """
    if method == WHOLE:
        return scored.whole
    if method == "round_robin":
        return np.stack([_in_turn(t[:limit], h[:limit]) for t, h in zip(scored.regions, scored.heads, strict=True)])
    return np.stack([_merged(table[:limit], method) for table in scored.regions])


def unit(rows: Vectors) -> Vectors:
    """Rows of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _merged(table: NDArray[np.float32], method: str) -> NDArray[np.float32]:
    """(regions, G) to (G,): what `api.merging.merge` gives, for the whole gallery at once."""
    if method == "max_score":
        return table.max(axis=0)
    rest = len(table) - min(TOP, len(table))
    return np.partition(table, rest, axis=0)[rest:].mean(axis=0) if rest else table.mean(axis=0)


def _in_turn(table: NDArray[np.float32], heads: NDArray[np.int64]) -> NDArray[np.float32]:
    """(regions, G) to (G,): the lists take turns for as many places as they are deep; the rest by its best score."""
    lists = [(head.tolist(), row[head]) for head, row in zip(heads, table, strict=True)]
    order = np.argsort(-table.max(axis=0), kind="stable")
    places = np.empty(table.shape[1], np.float32)
    places[order] = -1.0 - heads.shape[1] - np.arange(len(order))
    for place, entry in enumerate(merge(lists, "round_robin", heads.shape[1]), start=1):
        places[entry.id] = -place
    return places
