"""Words of a question, as the full-text indexes and the reasons take them."""

from __future__ import annotations

import re

from kg.records import normalise

# Words that say nothing of a product, in whatever question they stand. Few: "trash can", "down jacket", "for him", "New
# Balance" and "tea set" are about theirs.
BARE = frozenset(["a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "or", "the", "to", "with"])

__all__ = ["query_words", "telling_words"]


def query_words(text: str) -> list[str]:
    """The words of a text, normalised, each once."""
    return list(dict.fromkeys(re.findall(r"\w+", normalise(text))))


def telling_words(text: str) -> list[str]:
    """Those that the captions are searched for: without BARE, unless there are no others. BARE words stand in the
    captions of half a catalogue, and the index would look at all of it for them."""
    said = query_words(text)
    return [word for word in said if word not in BARE] or said
