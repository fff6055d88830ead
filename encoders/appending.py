"""What fields state, said after a text: so that it can be read, and, where mentions are masked, without what is masked.

Light: importing this does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.data import TrainItem, with_entities
from encoders.lexicon import Lexicon
from encoders.protocol import Entities

if TYPE_CHECKING:
    from encoders.backbones import TextBackbone

__all__ = ["fitted", "hidden", "said_after"]


def said_after(texts: Sequence[str], given: Sequence[Entities], text: TextBackbone) -> list[str]:
    """Texts with their entities said after them. Where that is more than the text model reads, the text makes room, not
    what is said after it; that has half of the places at least, and what does not fit into them whole is left out.

    Args:
        texts: one of each item.
        given: its entities.
        text: the text model.
    """
    found = [with_entities(one, entities) for one, entities in zip(texts, given, strict=True)]
    room = text.places - len(text.ids([""])[0])  # without the special tokens
    for number, ends in enumerate(text.ends(found)):
        if len(ends) > room and given[number]:
            found[number] = _cut(texts[number], given[number], text, room)
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
    return said_after(masked, left, text)
