"""Entities of training items: the vocabulary mined from their captions, and the tokens of what the model reads of it.

An item's entities joined by the text model's separator are its *entity sentence*, a third stream beside picture and
text. A checkpoint keeps the vocabulary: at query time a text's entities are found by the text alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.backbones import TextBackbone
from encoders.data import TrainItem
from encoders.features import FeatureCache, text_tokens
from encoders.lexicon import NONE, Lexicon
from encoders.tables import FACTS, INDEX, TokenTable, token_places
from kg import mining
from kg.entities import Phrases
from kg.errors import BadInput
from kg.mining import Mined

__all__ = [
    "FILE",
    "EntityTable",
    "Vocabulary",
    "build_entities",
    "kept_items",
    "learn_entities",
    "mask_token",
    "open_entities",
    "open_lexicon",
]

FILE = "entities.json"  # of a checkpoint, and of a folder of tokens
NODE_TOKENS = 12  # of one entity; what is longer is cut


@dataclass(frozen=True)
class Vocabulary:
    """The entities that an encoder knows.

    Attributes:
        entities: their order numbers them.
        per_item: most entities of one text.
    """

    entities: tuple[Mined, ...]
    per_item: int

    def __len__(self) -> int:
        return len(self.entities)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        return tuple(entity.text for entity in self.entities)

    @cached_property
    def phrases(self) -> Phrases:
        return mining.dictionary(self.entities)

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {entity.key: number for number, entity in enumerate(self.entities)}

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._document().encode()).hexdigest()

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(N, per_item): numbers of each text's entities, `NONE` beyond."""
        found = np.full((len(texts), max(self.per_item, 1)), NONE, np.int64)
        for row, text in zip(found, texts, strict=True):
            keys = mining.tag(self.phrases, text, most=self.per_item) if self.per_item else ()
            row[: len(keys)] = [self.numbers[key] for key in keys]
        return found

    def sentences(self, numbers: NDArray[np.int64], text: TextBackbone) -> list[str]:
        """Entity sentences of rows of numbers; empty where there is no entity."""
        between = f" {separator(text)} "
        return [between.join(self.texts[number] for number in row if number != NONE) for row in numbers]

    def save(self, folder: Path) -> None:
        new = folder / f"{FILE}.new"
        new.write_text(self._document(), encoding="utf-8")
        os.replace(new, folder / FILE)

    @classmethod
    def open(cls, folder: Path) -> Vocabulary:
        """Raises:
        BadInput: the file is missing or broken.
        """
        path = folder / FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            entities = [Mined(**{**one, "spellings": tuple(one["spellings"])}) for one in document["entities"]]
            return cls(tuple(entities), int(document["per_item"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path} is no vocabulary of entities: {error!r}", hint="train the encoder again") from error

    def _document(self) -> str:
        return json.dumps({"per_item": self.per_item, "entities": [asdict(one) for one in self.entities]}, indent=0)


def separator(text: TextBackbone) -> str:
    """What stands between the entities of a sentence."""
    return getattr(getattr(text, "tokenizer", None), "sep_token", None) or ";"


def mask_token(text: TextBackbone, mask: str) -> str:
    """What stands for a hidden word; empty where the tokenizer has none for that.

    Raises:
        BadInput: mentions are to be masked by it ("token"), and there is none.
    """
    found = getattr(getattr(text, "tokenizer", None), "mask_token", None) or ""
    if mask == "token" and not found:
        raise BadInput("learner.mask 'token': the text backbone's tokenizer has no mask token",
                       field="learner.mask", hint="remove takes the mentions away")  # fmt: skip
    return found


def open_lexicon(folder: Path, settings: Mapping[str, Any], text: TextBackbone) -> Lexicon:
    """The lexicon of a checkpoint, or of a folder of tables. Raises: as `mask_token`."""
    return Lexicon.open(
        folder,
        per_item=settings["per_item"],
        mask=settings["mask"],
        token=mask_token(text, settings["mask"]),
        beside=settings.get("fusion") == "tokens",
    )


def learn_entities(captions: Sequence[str], settings: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of these captions, the "entities" part of a config saying how."""
    if not settings["per_item"]:
        return Vocabulary((), 0)
    rules = {name: settings[name] for name in ("least_df", "most_words", "most")}
    return Vocabulary(tuple(mining.mine(captions, **rules)), settings["per_item"])


@dataclass(frozen=True)
class EntityTable:
    """Entities of the N items of a `TokenTable`, row by row.

    Attributes:
        vocabulary: E entities.
        items: (N, K) numbers, `NONE` beyond.
        texts: (all tokens, V) of the entity sentences.
        words: (all tokens,) their ids.
        starts: (N + 1,).
        nodes: (E, L, V) tokens of each entity by itself, the sentence's first token included.
        node_counts: (E,) tokens of each.
    """

    vocabulary: Vocabulary
    items: NDArray[np.int64]
    texts: NDArray[np.float16]
    words: NDArray[np.int64]
    starts: NDArray[np.int64]
    nodes: NDArray[np.float16]
    node_counts: NDArray[np.int64]

    def sentences(self, rows: NDArray[np.int64], device: str, kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, T, V), mask (B, T) and ids (B, T) of the sentences of these items."""
        where, mask = token_places(self.starts, rows)
        return (
            torch.from_numpy(self.texts[where]).to(device, kind),
            torch.from_numpy(mask).to(device),
            torch.from_numpy(np.where(mask, self.words[where], 0)).to(device),
        )

    def of(self, numbers: NDArray[np.int64], device: str, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Tokens (U, L, V) and mask (U, L) of these entities."""
        counts = self.node_counts[numbers]
        most = int(counts.max()) if len(counts) else 1
        return (
            torch.from_numpy(np.array(self.nodes[numbers, :most])).to(device, kind),
            torch.from_numpy(np.arange(most) < counts[:, None]).to(device),
        )


def build_entities(
    vocabulary: Vocabulary,
    captions: Sequence[str],
    text: TextBackbone,
    folder: Path,
    *,
    cache: FeatureCache | None = None,
    chunk: int = 1024,
) -> EntityTable:
    """Writes what `EntityTable` holds of these captions under `folder`, an empty one."""
    folder.mkdir(parents=True, exist_ok=True)
    items, words = vocabulary.find(captions), []
    with (folder / "texts.f16").open("wb") as file:
        for start in range(0, len(captions), chunk):
            sentences = vocabulary.sentences(items[start : start + chunk], text)
            file.write(np.concatenate(text_tokens(text, sentences, cache=cache)).tobytes())
            words += text.ids(sentences)
    counts = np.zeros(len(vocabulary), np.int64)
    with (folder / "nodes.f16").open("wb") as file:
        for start in range(0, len(vocabulary), chunk):
            tokens = text_tokens(text, vocabulary.texts[start : start + chunk], cache=cache)
            padded = np.zeros((len(tokens), NODE_TOKENS, text.width), np.float16)
            for n, found in enumerate(tokens):
                count = counts[start + n] = min(len(found), NODE_TOKENS)
                padded[n, :count] = found[:count]
            file.write(padded.tobytes())
    index: dict[str, Any] = {
        "items": items,
        "words": np.array([number for row in words for number in row], np.int64),
        "starts": np.concatenate([[0], np.cumsum([len(row) for row in words], dtype=np.int64)]).astype(np.int64),
        "node_counts": counts,
    }
    np.savez(folder / INDEX, **index)
    vocabulary.save(folder)
    (folder / FACTS).write_text(json.dumps({"text_width": text.width}), encoding="utf-8")  # last: now it is whole
    return open_entities(folder)


def open_entities(folder: Path) -> EntityTable:
    """What `build_entities` wrote."""
    width = json.loads((folder / FACTS).read_text(encoding="utf-8"))["text_width"]
    with np.load(folder / INDEX) as index:
        arrays = {name: index[name] for name in index.files}

    def mapped(name: str, *shape: int) -> NDArray[np.float16]:
        path = folder / name
        if not path.stat().st_size:
            return np.empty((0, *shape), np.float16)
        return np.memmap(path, np.float16, "r").reshape(-1, *shape)

    return EntityTable(
        vocabulary=Vocabulary.open(folder),
        texts=mapped("texts.f16", width),
        nodes=mapped("nodes.f16", NODE_TOKENS, width),
        **arrays,
    )


def kept_items(items: Sequence[TrainItem], table: TokenTable) -> list[TrainItem]:
    """The items of a table's rows: those whose picture could be read."""
    skipped, kept = [name for name, _ in table.skipped], []
    for item in items:
        if skipped and item.id == skipped[0]:
            skipped.pop(0)
        else:
            kept.append(item)
    if len(kept) != len(table):
        raise BadInput(f"{len(kept)} items for the {len(table)} rows of a table", hint="remove the folder of tables")
    return kept
