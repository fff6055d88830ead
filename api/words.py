"""Words of a question, as the full-text indexes and the reasons take them."""

from __future__ import annotations

import re

from kg.records import normalise

__all__ = ["query_words"]


def query_words(text: str) -> list[str]:
    """The words of a text, normalised, each once: what the full-text index is asked for."""
    return list(dict.fromkeys(re.findall(r"\w+", normalise(text))))
