"""Words of a question, as the full-text indexes and the reasons take them."""

from __future__ import annotations

import re

from kg.records import normalise
from kg.words import STOP_WORDS

__all__ = ["query_words", "telling_words"]


def query_words(text: str) -> list[str]:
    """The words of a text, normalised, each once."""
    return list(dict.fromkeys(re.findall(r"\w+", normalise(text))))


def telling_words(text: str) -> list[str]:
    """Those that the captions are searched for: without the words of every kind of text ("of", "with"), unless there
    are no others. They say nothing about a product, and stand in the captions of half a catalogue."""
    said = query_words(text)
    return [word for word in said if word not in STOP_WORDS] or said
