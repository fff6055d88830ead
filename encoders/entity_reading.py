"""What a training of `ei_clip` reads of structured entities: selection, masked captions, and each batch's places.

All of it comes from the training items: those of validation are only looked up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from encoders.appending import READING, hidden
from encoders.backbones import TextBackbone
from encoders.confounding import write_confounding
from encoders.data import TrainItem, with_entities
from encoders.entities import kept_items, mask_token, open_lexicon
from encoders.entity_selection import select_entities
from encoders.features import FeatureCache
from encoders.knowledge import Knowledge
from encoders.lexicon import NONE, Lexicon
from encoders.preparing import alone, whole_folder
from encoders.table_start import table_start
from encoders.tables import FACTS, Batch, TokenTable
from encoders.text_table import TextTable, open_texts, write_texts

__all__ = ["Reading", "ReadingTable", "prepare_reading"]

PLACES = "places.npy"  # beside the captions


@dataclass(frozen=True)
class ReadingTable:
    """Structured entities of the N items of a `TokenTable`, row by row.

    Attributes:
        lexicon: all entities, with those that are chosen.
        items: (N, K) places, `NONE` beyond.
        texts: the captions, masked.
        start: (P, width) of the learner's table; None: at random.
    """

    lexicon: Lexicon
    items: NDArray[np.int64]
    texts: TextTable
    start: NDArray[np.float32] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What a config must know of it."""
        start = {} if self.start is None else {"start_fingerprint": hashlib.sha256(self.start.tobytes()).hexdigest()}
        lexicon = self.lexicon
        return {"count": len(lexicon), "types": len(lexicon.types), "fingerprint": lexicon.fingerprint, **start}


def prepare_reading(
    items: Sequence[TrainItem],
    table: TokenTable,
    text: TextBackbone,
    tables: Path,
    settings: Mapping[str, Any],
    *,
    start: str,
    seed: int,
    cache: FeatureCache | None,
    accelerator: Accelerator,
) -> ReadingTable:
    """The structured entities of a table's items, selected on its training part; kept in `tables` beside it.

    Args:
        items: what the table was made of.
        table: their tokens.
        text: the frozen text model.
        tables: the folder.
        settings: "learner" of the config.
        start: of the learner's table, see `encoders.table_start`.
        seed: of a random selection.
        cache: of the tokens of texts.
        accelerator: of several processes the first makes it.
    """
    kept = kept_items(items, table)
    names = ("least_df", "per_item", "score", "rule", "share", "threshold", "ridge", "sampled", "mask")
    rules = {name: settings[name] for name in names} | ({"seed": seed} if settings["score"] == "random" else {})
    beside = settings["fusion"] == "tokens"
    what = [table.digest, text.fingerprint, rules, READING, beside]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    for item in kept:
        digest.update(json.dumps([item.title, item.entities]).encode())
    folder = tables / f"stated-{digest.hexdigest()[:20]}"
    with alone(tables, accelerator) as mine:
        if mine and not (folder / FACTS).is_file():
            lexicon = Lexicon(
                tuple(select_entities(kept, table, text, rules, cache=cache)),
                settings["per_item"],
                settings["mask"],
                mask_token(text, settings["mask"]),
                beside,
            )
            with whole_folder(folder) as new:
                _build(lexicon, kept, text, new, cache)
    accelerator.wait_for_everyone()
    found = _open(folder, open_lexicon(folder, settings, text))
    return replace(found, start=table_start(found.lexicon, start, settings["width"], text, cache=cache))


def _build(
    lexicon: Lexicon, items: Sequence[TrainItem], text: TextBackbone, folder: Path, cache: FeatureCache | None
) -> None:
    given = [item.entities for item in items]
    titles = [item.text if item.title is None else item.title for item in items]
    appended = any(item.title is not None for item in items)
    captions = list(map(with_entities, titles, given)) if appended else titles
    places = lexicon.find(captions, given)
    np.save(folder / PLACES, places)
    write_confounding(folder, lexicon.rows)
    texts = hidden(lexicon, titles, given if appended else None, places, text)
    write_texts(texts, text, folder, cache=cache)  # last: now it is whole


def _open(folder: Path, lexicon: Lexicon) -> ReadingTable:
    return ReadingTable(lexicon, np.load(folder / PLACES), open_texts(folder))


class Reading:
    """Gives each batch its places and masked captions.

    Args:
        reading: of the table's rows.
        fit: rows of the training items.
        settings: "learner" of the config.
        device: of torch.
        inner: what the base reads of entities, where it does.
    """

    def __init__(
        self,
        reading: ReadingTable,
        fit: NDArray[np.int64],
        settings: Mapping[str, Any],
        *,
        device: str,
        inner: Knowledge | None = None,
    ) -> None:
        self.reading, self.fit, self.settings = reading, fit, settings
        self.device, self.inner = device, inner
        self.unknown = reading.lexicon.unknown

    def words(self) -> NDArray[np.int64]:
        """Ids of all words of the masked captions, and of what the base reads."""
        return np.unique(np.concatenate([self.reading.texts.words, *([self.inner.words()] if self.inner else [])]))

    def begin(self, model: Any) -> None:
        if self.inner:
            self.inner.begin(model.base)
        if model.learner is not None:
            places = self.reading.items[self.fit]
            counts = np.bincount(places[places != NONE], minlength=len(self.reading.lexicon))
            start = None if self.reading.start is None else torch.from_numpy(self.reading.start)
            numbers = torch.from_numpy(self.reading.lexicon.type_numbers)
            model.learner.tell(numbers, torch.from_numpy(counts).float(), start)

    def refresh(self, model: Any) -> None:
        if self.inner:
            self.inner.refresh(model.base)

    def resume(self, model: Any) -> None:
        if self.inner:
            self.inner.resume(model.base)

    def batch(
        self,
        given: Batch,
        rows: NDArray[np.int64],
        kind: torch.dtype = torch.float32,
        *,
        model: Any = None,
        order: np.random.Generator | None = None,
    ) -> Batch:
        """The batch of these rows, captions masked. In training (`order`) some items have no entities and their whole
        captions, and some entities are unknown or left away: so the model learns to do without."""
        if self.inner:
            given = self.inner.batch(given, rows, kind, model=model and model.base, order=order)
        if not len(self.reading.lexicon):
            return given
        places = self.reading.items[rows]
        bare = np.zeros(len(rows), bool)
        if order is not None:
            bare = order.random(len(rows)) < self.settings["none_rate"]
            draws = order.random(places.shape)
            unknown, drop = self.settings["unknown_rate"], self.settings["drop_rate"]
            places = np.where((draws < unknown) & (places != NONE), self.unknown[np.maximum(places, 0)], places)
            places = np.where((draws >= 1 - drop) | bare[:, None], NONE, places)
        given = self.reading.texts.instead(given, rows, ~bare, self.device, kind)
        return replace(given, structured=torch.from_numpy(places).to(self.device))
