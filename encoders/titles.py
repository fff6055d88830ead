"""Items as who searches may say them: by their titles alone, where training appends what fields state.

A text that is always followed by its facts teaches nothing of one that is not. With `text.bare` above 0 that share of
the items of each batch has the title alone, and of the structured entities those that the title itself names: to the
letter what an encoder makes of a query of which nothing is given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from encoders.backbones import TextBackbone
from encoders.data import TrainItem
from encoders.entities import kept_items
from encoders.entity_reading import Reading
from encoders.features import FeatureCache
from encoders.knowledge import Knowledge
from encoders.lexicon import Lexicon
from encoders.preparing import alone, whole_folder
from encoders.tables import FACTS, Batch, TokenTable
from encoders.text_table import TextTable, open_texts, write_texts

__all__ = ["TitleTable", "Titles", "prepare_titles"]


@dataclass(frozen=True)
class TitleTable:
    """Titles of the N items of a `TokenTable`, row by row.

    Attributes:
        texts: their tokens; masked as a query would be, where mentions are.
        places: (N, K) of the structured entities that they name; None: the model reads none.
    """

    texts: TextTable
    places: NDArray[np.int64] | None = None


def prepare_titles(
    items: Sequence[TrainItem],
    table: TokenTable,
    text: TextBackbone,
    tables: Path,
    lexicon: Lexicon | None,
    *,
    cache: FeatureCache | None,
    accelerator: Accelerator,
) -> TitleTable:
    """The titles of a table's items; kept in `tables` beside it.

    Args:
        items: what the table was made of.
        table: their tokens.
        text: the frozen text model.
        tables: the folder.
        lexicon: the structured entities, where the model reads these.
        cache: of the tokens of texts.
        accelerator: of several processes the first makes it.
    """
    titles = [item.text if item.title is None else item.title for item in kept_items(items, table)]
    places = None
    if lexicon is not None and len(lexicon):
        places = lexicon.find(titles)
        titles = lexicon.masked(titles, places)
    what = json.dumps([text.fingerprint, titles])
    folder = tables / f"titles-{hashlib.sha256(what.encode()).hexdigest()[:20]}"
    with alone(tables, accelerator) as mine:
        if mine and not (folder / FACTS).is_file():
            with whole_folder(folder) as new:
                write_texts(titles, text, new, cache=cache)
    accelerator.wait_for_everyone()
    return TitleTable(open_texts(folder), places)


class Titles:
    """Gives some items of each batch in training their titles alone; in validation none.

    Args:
        titles: of the table's rows.
        rate: share of the items.
        device: of torch.
        inner: what the model reads of entities, where it does; it comes first.
    """

    def __init__(
        self, titles: TitleTable, rate: float, *, device: str, inner: Knowledge | Reading | None = None
    ) -> None:
        self.titles, self.rate, self.device, self.inner = titles, rate, device, inner

    def words(self) -> NDArray[np.int64]:
        """Ids of all words of the titles, and of what else is read."""
        return np.unique(np.concatenate([self.titles.texts.words, *([self.inner.words()] if self.inner else [])]))

    def begin(self, model: Any) -> None:
        if self.inner:
            self.inner.begin(model)

    def refresh(self, model: Any) -> None:
        if self.inner:
            self.inner.refresh(model)

    def resume(self, model: Any) -> None:
        if self.inner:
            self.inner.resume(model)

    def batch(
        self,
        given: Batch,
        rows: NDArray[np.int64],
        kind: torch.dtype = torch.float32,
        *,
        model: Any = None,
        order: np.random.Generator | None = None,
    ) -> Batch:
        """The batch of these rows; in training (`order`) titles stand in the place of some of its texts."""
        if self.inner:
            given = self.inner.batch(given, rows, kind, model=model, order=order)
        bare = np.zeros(len(rows), bool) if order is None else order.random(len(rows)) < self.rate
        if not bare.any():
            return given
        given = self.titles.texts.instead(given, rows, bare, self.device, kind)
        if given.structured is not None and self.titles.places is not None:
            named = torch.from_numpy(self.titles.places[rows]).to(self.device)
            which = torch.from_numpy(bare).to(self.device)[:, None]
            given = replace(given, structured=torch.where(which, named, given.structured))
        return given
