"""What fields state, said after a text: so that it can be read, and, where mentions are masked, without what is masked.

Light: importing this does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.data import TrainItem, with_entities
from encoders.lexicon import NONE, Lexicon
from encoders.protocol import Entities
from kg.errors import EncoderMismatch

if TYPE_CHECKING:
    from encoders.backbones import TextBackbone

__all__ = ["READING", "fitted", "hidden", "made_room", "reading", "said_after"]

READING = 2  # how texts with entities are read; the next number where that changes: vectors then do too


def reading(config: Mapping[str, Any]) -> dict[str, int]:
    """What "text" of an encoder's config holds of how its texts are read: the number, where entities are said in them
    or stand among their tokens; nothing where they are read as ever."""
    tokens = (config.get("learner") or {}).get("fusion") == "tokens"
    return {"reading": READING} if tokens or config["text"].get("appended") else {}


def made_room(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether the texts of a checkpoint make room for what is said after them. Those of before there was a number are
    cut at their end, as they were; vectors of what else they did could not be had again.

    Raises:
        EncoderMismatch: its texts are read in a way that is no more, or not yet.
    """
    known, wanted, learner = config["text"].get("reading"), reading(config).get("reading"), config.get("learner") or {}
    if known == wanted:
        return True
    plain = learner.get("mask", "none") == "none" and learner.get("fusion", "add") == "add"
    if known is None and plain and config["model"].get("item") != "post":
        return False
    raise EncoderMismatch(
        f"{folder} has learned to read texts in way {known or 1}, here they are read in way {wanted}: "
        "its vectors would be others",
        hint="train it again, or open it with the version it was trained with",
    )


def said_after(
    texts: Sequence[str], given: Sequence[Entities], text: TextBackbone, beside: NDArray[np.int64] | None = None
) -> list[str]:
    """Texts with their entities said after them. Where that is more than the text model reads, the text makes room, not
    what is said after it; that has half of the places at least, and what does not fit into them whole is left out.

    Args:
        texts: one of each item.
        given: its entities.
        text: the text model.
        beside: (N,) places of each that what stands beside its tokens takes; None: none.
    """
    found = [with_entities(one, entities) for one, entities in zip(texts, given, strict=True)]
    room = text.places - len(text.ids([""])[0])  # without the special tokens
    for number, ends in enumerate(text.ends(found)):
        left = room if beside is None else max(room - int(beside[number]), 1)
        if len(ends) > left and given[number]:
            found[number] = _cut(texts[number], given[number], text, left)
    return found


def _cut(title: str, entities: Entities, text: TextBackbone, room: int) -> str:
    facts: list[tuple[str, str]] = []
    for one in entities:
        more = [*facts, one]
        if _length(text, "", more) <= room // 2 or _length(text, title, more) <= room:  # a short title leaves them more
            facts = more
    # Tokens of a title alone and before its facts may differ in number: one less until both fit.
    ends = text.ends([title])[0]
    for left in range(min(len(ends), room), 0, -1):
        if _length(text, short := title[: ends[left - 1]].rstrip(), facts) <= room:
            return with_entities(short, facts)
    return with_entities("", facts)


def _length(text: TextBackbone, title: str, facts: Entities) -> int:
    return len(text.ends([with_entities(title, facts)])[0])


def fitted(items: Sequence[TrainItem], text: TextBackbone) -> list[TrainItem]:
    """Items of `encoders.data.appended`, cut so that the text model reads their facts."""
    titles = [item.text if item.title is None else item.title for item in items]
    texts = said_after(titles, [item.entities for item in items], text)
    return [item if item.text == one else replace(item, text=one) for item, one in zip(items, texts, strict=True)]


def hidden(
    lexicon: Lexicon,
    texts: Sequence[str],
    given: Sequence[Entities] | None,
    places: NDArray[np.int64],
    text: TextBackbone,
) -> list[str]:
    """Texts as the model reads them whose entities have vectors of their own.

    Args:
        lexicon: says what becomes of mentions.
        texts: without what is said after them.
        given: entities that are said after them, text by text; None: nothing is. Of these, what is masked is not said.
        places: (N, K) of their entities.
        text: the text model.
    """
    masked = lexicon.masked(texts, places)
    if given is None:
        return masked
    left = [lexicon.unmasked(entities, row) for entities, row in zip(given, places, strict=True)]
    return said_after(masked, left, text, (places != NONE).sum(axis=1) if lexicon.beside else None)
