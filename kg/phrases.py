"""Phrases in captions, found by dictionary.

Words count whole in scripts that part them by spaces; in Chinese, Japanese, Korean and Thai any occurrence counts. Of
overlapping phrases the leftmost wins, of those the longest: "rose gold" is no "rose".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ahocorasick

from kg.records import normalise
from kg.scripts import mark, unspaced

__all__ = ["LEAST_LETTERS", "LEAST_UNSPACED", "Mention", "Phrases"]

LEAST_LETTERS = 3  # shorter words of spaced scripts mean too many things ("w", "xl")
LEAST_UNSPACED = 2


@dataclass(frozen=True, slots=True)
class Mention:
    """A phrase found: its normalised text, where it starts in the normalised caption, the entities it may mean."""

    text: str
    start: int
    keys: tuple[str, ...]


class Phrases:
    """A dictionary, ready to be looked for.

    Args:
        entries: (entity key, text); one text may stand for several entities.
        df: of entities, how many products name them, where that is known.
    """

    def __init__(self, entries: Iterable[tuple[str, str]], df: Mapping[str, int] | None = None) -> None:
        self.df = dict(df or {})
        meanings: dict[str, list[str]] = {}
        for key, text in entries:
            if _worth_it(phrase := normalise(text)):
                meanings.setdefault(phrase, []).append(key)
        self.meanings = {phrase: tuple(sorted(set(keys))) for phrase, keys in meanings.items()}
        self._automaton = ahocorasick.Automaton()
        for phrase in self.meanings:
            self._automaton.add_word(phrase, phrase)
        self._automaton.make_automaton()

    def find(self, caption: str) -> list[Mention]:
        """Mentions in their order, none overlapping."""
        if not self.meanings:
            return []
        text = normalise(caption)
        found = [(last + 1 - len(phrase), -len(phrase), phrase) for last, phrase in self._automaton.iter(text)]
        mentions, free = [], 0
        for start, _, phrase in sorted(found):
            if start >= free and _bounded(text, start, start + len(phrase)):
                mentions.append(Mention(phrase, start, self.meanings[phrase]))
                free = start + len(phrase)
        return mentions


def _worth_it(phrase: str) -> bool:
    if any(map(unspaced, phrase)):
        return len(phrase) >= LEAST_UNSPACED
    return len(phrase) >= LEAST_LETTERS and any(map(str.isalpha, phrase))


def _bounded(text: str, start: int, end: int) -> bool:
    """Neither end cuts a word in two."""
    return not (start and _joined(text[start - 1], text[start])) and not (
        end < len(text) and _joined(text[end - 1], text[end])
    )


def _joined(left: str, right: str) -> bool:
    return all((letter.isalnum() or mark(letter)) and not unspaced(letter) for letter in (left, right))
