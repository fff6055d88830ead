"""What a training knows of the entities of its items: those mined from captions (`ege_cmp`), and those that fields
state (`ei_clip`); and the titles of items whose texts state them (`text.bare`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from encoders.backbones import TextBackbone
from encoders.confounding import FILE, write_confounding
from encoders.data import TrainItem
from encoders.entities import EntityTable
from encoders.entity_reading import Reading, ReadingTable, prepare_reading
from encoders.features import FeatureCache
from encoders.knowledge import Knowledge
from encoders.preparing import prepare_entities
from encoders.table_start import start_folder
from encoders.tables import TokenTable
from encoders.titles import Titles, TitleTable, prepare_titles

__all__ = ["Known", "KnownEntities", "know_entities"]

Known = Knowledge | Reading | Titles  # what gives each batch of a training its entities


@dataclass(frozen=True)
class KnownEntities:
    """Of the rows of a training's table; None where the config asks for none.

    Attributes:
        mined: from captions.
        stated: by fields.
        titles: what items are trained by alone.
        digest: of the items' titles and stated entities, where these are trained on beside the texts: a text does not
            tell where its title ends, nor what was cut off.
    """

    mined: EntityTable | None
    stated: ReadingTable | None
    titles: TitleTable | None = None
    digest: str = ""

    def knowledge(
        self, table: TokenTable, fit: NDArray[np.int64], config: dict[str, Any], *, seed: int, device: str
    ) -> Known | None:
        """What gives each batch its entities; see there."""
        inner: Knowledge | None = None
        if self.mined is not None and len(self.mined.vocabulary):
            inner = Knowledge(self.mined, table, fit, config["entities"], seed=seed, device=device)
        found: Knowledge | Reading | None = inner
        if self.stated is not None:
            found = Reading(self.stated, fit, config["learner"], device=device, inner=inner)
        if self.titles is not None:
            return Titles(self.titles, config["text"]["bare"], device=device, inner=found)
        return found

    def save(self, folder: Path) -> None:
        """Into a checkpoint."""
        if self.mined is not None:
            self.mined.vocabulary.save(folder)
        (folder / FILE).unlink(missing_ok=True)  # of an earlier training
        if self.stated is not None:
            write_confounding(folder, self.stated.lexicon.rows)


def know_entities(
    config: dict[str, Any],
    items: Sequence[TrainItem],
    table: TokenTable,
    text: TextBackbone,
    tables: Path,
    out: Path,
    *,
    seed: int,
    cache: FeatureCache | None,
    accelerator: Accelerator,
) -> KnownEntities:
    """Prepares both in `tables`; the config learns how many there are, and their fingerprints."""
    mined, stated = None, None
    if "entities" in config:
        mined = prepare_entities(items, table, text, tables, config["entities"], cache=cache, accelerator=accelerator)
        config["entities"] |= {"count": len(mined.vocabulary), "fingerprint": mined.vocabulary.fingerprint}
    if "learner" in config:
        stated = prepare_reading(
            items,
            table,
            text,
            tables,
            config["learner"],
            start=start_folder(config["learner"]["start"], out, seed),
            seed=seed,
            cache=cache,
            accelerator=accelerator,
        )
        config["learner"] |= stated.facts
    titles = None
    if config["text"].get("bare"):
        lexicon = stated.lexicon if stated else None
        titles = prepare_titles(items, table, text, tables, lexicon, cache=cache, accelerator=accelerator)
    told = json.dumps([[item.title, item.entities] for item in items]) if stated or titles else ""
    return KnownEntities(mined, stated, titles, hashlib.sha256(told.encode()).hexdigest() if told else "")
