"""The structured entities that an encoder knows: which of them a text has, and the text with them masked.

Light: importing this does not import torch.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.confounding import Confounding, read_confounding
from encoders.data import said
from encoders.protocol import Entities
from kg.phrases import Mention, Phrases
from kg.records import entity_key, normalise

__all__ = ["NONE", "Lexicon", "learn_lexicon"]

NONE = -1  # where a text has fewer entities than there are places


def learn_lexicon(given: Iterable[Entities], *, least_df: int) -> list[Confounding]:
    """The entities that so many of these items have, in the order of their keys; nothing is chosen yet."""
    df, ways = Counter[str](), dict[str, Counter[tuple[str, str]]]()
    for entities in given:
        for kind, value in {entity_key(*one): one for one in entities}.values():
            key = entity_key(kind, value)
            df[key] += 1
            ways.setdefault(key, Counter())[normalise(kind), said(kind, value)] += 1
    found = []
    for key in sorted(key for key, number in df.items() if number >= least_df):
        kind, text = min(ways[key], key=lambda way, ways=ways[key]: (-ways[way], way))  # type: ignore[misc]
        found.append(Confounding(key, kind, text, df[key]))
    return found


@dataclass(frozen=True)
class Lexicon:
    """Chosen entities have the first places of the learner's table, the UNK of each of their types the last.

    Attributes:
        rows: all entities, chosen or not.
        per_item: most entities of one text.
        mask: what becomes of a chosen entity's mentions: "remove", "token", or "none": they stay.
        token: what stands for a mention with "token".
        beside: a text's entities stand beside its tokens, and take places of theirs.
    """

    rows: tuple[Confounding, ...]
    per_item: int
    mask: str = "remove"
    token: str = "[MASK]"
    beside: bool = False

    @classmethod
    def open(cls, folder: Path, *, per_item: int, mask: str, token: str, beside: bool = False) -> Lexicon:
        """Of a checkpoint. Raises: as `read_confounding`."""
        return cls(tuple(read_confounding(folder)), per_item, mask, token, beside)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps([asdict(row) for row in self.rows]).encode()).hexdigest()

    @cached_property
    def chosen(self) -> tuple[Confounding, ...]:
        return tuple(row for row in self.rows if row.chosen)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Those that have a chosen entity."""
        return tuple(sorted({row.type for row in self.chosen}))

    @cached_property
    def type_numbers(self) -> NDArray[np.int64]:
        """(places,) type of each."""
        return np.array([*(self.types.index(row.type) for row in self.chosen), *range(len(self.types))], np.int64)

    @cached_property
    def unknown(self) -> NDArray[np.int64]:
        """(places,) the UNK of each."""
        return self.type_numbers + len(self.chosen)

    def __len__(self) -> int:
        return len(self.chosen) + len(self.types)

    @cached_property
    def places(self) -> dict[str, int]:
        return {row.key: place for place, row in enumerate(self.chosen)}

    @cached_property
    def known(self) -> dict[str, Confounding]:
        return {row.key: row for row in self.rows}

    @cached_property
    def phrases(self) -> Phrases:
        return Phrases((row.key, row.text) for row in self.rows)

    def mentions(self, text: str) -> list[Mention]:
        """Of all entities, chosen or not, in the normalised text."""
        return self.phrases.find(text)

    def keys(self, text: str, given: Entities = ()) -> list[str]:
        """Keys of a text's entities: those given, then what the text names of types that are not given. Where a word
        means several, it is the one that most items have."""
        found = dict.fromkeys(entity_key(*one) for one in given)
        types = {normalise(kind) for kind, _ in given}
        for mention in self.mentions(text):
            open_ = [self.known[key] for key in mention.keys if self.known[key].type not in types]
            if open_:
                found[max(open_, key=lambda row: (row.df, row.key)).key] = None
        return list(found)

    def find(self, texts: Sequence[str], given: Sequence[Entities] | None = None) -> NDArray[np.int64]:
        """(N, per_item): places of each text's entities, `NONE` beyond. What training has not seen is the UNK of its
        type; what it has seen and not chosen is left to the text, and so is a type of which nothing is chosen."""
        found = np.full((len(texts), max(self.per_item, 1)), NONE, np.int64)
        for number, (row, text) in enumerate(zip(found, texts, strict=True)):
            keys = self.keys(text, given[number] if given is not None else ())
            places = list(dict.fromkeys(place for key in keys if (place := self._place(key)) != NONE))
            row[: len(places)] = places[: self.per_item]
        return found

    def _place(self, key: str) -> int:
        if key in self.places:
            return self.places[key]
        kind = key.split(":", 1)[0]
        if key in self.known or kind not in self.types:
            return NONE
        return len(self.chosen) + self.types.index(kind)

    def masked(self, texts: Sequence[str], places: NDArray[np.int64]) -> list[str]:
        """The texts without mentions of these entities of theirs; one that has none stays as it is, to the letter."""
        return [self.without(text, self._hides(row)) for text, row in zip(texts, places, strict=True)]

    def unmasked(self, given: Entities, places: NDArray[np.int64]) -> Entities:
        """Those of a text's entities that may be said: all but the masked ones of these places (K,)."""
        hides = self._hides(places)
        return [one for one in given if entity_key(*one) not in hides]

    def _hides(self, places: NDArray[np.int64]) -> set[str]:
        if self.mask == "none":
            return set()
        return {self.chosen[place].key for place in places if 0 <= place < len(self.chosen)}

    def without(self, text: str, keys: set[str]) -> str:
        """The text without mentions of these entities."""
        hidden = [mention for mention in self.mentions(text) if keys.intersection(mention.keys)] if keys else []
        if not hidden:
            return text
        plain, parts, end = normalise(text), [], 0
        for mention in hidden:
            parts += [plain[end : mention.start], self.token if self.mask == "token" else " "]
            end = mention.start + len(mention.text)
        return " ".join("".join([*parts, plain[end:]]).split())
