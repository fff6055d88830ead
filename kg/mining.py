"""Entities from captions alone: a dictionary of phrases mined by statistics, and which of it a caption mentions.

A phrase is a run of words that stand together more often than chance would have it (normalised pointwise mutual
information of its loosest split) and that are used in more than one surrounding (entropy of the words beside it). No
phrase starts or ends with a stop word. Spellings that differ only in accents, punctuation or spaces are one entity,
called as it is written most often. docs/entities.md has the measurements that the thresholds come from.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kg.errors import BadInput
from kg.ngrams import Grams, count_grams
from kg.phrases import LEAST_LETTERS, LEAST_UNSPACED, Phrases
from kg.records import entity_key
from kg.scripts import mark, unspaced
from kg.words import STOP_WORDS, join, meaningful, stretches

__all__ = ["PHRASE", "Mined", "dictionary", "fold", "mine", "tag"]

PHRASE = "phrase"
COHESION = 0.5
RARE = 5  # cohesion of what is seen so often counts half: two rare words may stand together by chance
FREEDOM = 0.2
SWALLOWED = 0.9  # share of a phrase's captions that have it inside one longer phrase: it is none by itself
LONGEST = 10_000  # characters of a caption
MOST_LETTERS = 60


@dataclass(frozen=True)
class Mined:
    """A phrase found in captions.

    Attributes:
        key: of the entity.
        text: as it is written most often, normalised.
        type: "phrase".
        df: captions that have it, in any of its spellings.
        score: by which the list is sorted, highest first.
        spellings: all of them, `text` first.
    """

    key: str
    text: str
    type: str
    df: int
    score: float
    spellings: tuple[str, ...] = ()


def mine(captions: Iterable[str], *, least_df: int = 2, most_words: int = 4, most: int | None = None) -> list[Mined]:
    """The phrases of these captions, best first; the same for the same captions in any order.

    Args:
        captions: read once, one at a time; of each the first 10,000 characters.
        least_df: captions that a phrase must stand in.
        most_words: of a phrase; Chinese words as jieba's dictionary cuts them.
        most: phrases to keep.

    Raises:
        BadInput: an argument below 1.
        BadSetting: Chinese captions, and jieba is not installed.
    """
    for name, value in (("least_df", least_df), ("most_words", most_words), ("most", 1 if most is None else most)):
        if value < 1:
            raise BadInput(f"{name} = {value}: at least 1")
    counted = (stretches(caption[:LONGEST]) for caption in captions)
    words, number, grams = count_grams(counted, least_df=least_df, most_words=most_words)
    spellings: dict[str, list[tuple[int, str, float]]] = {}
    whole: dict[tuple[int, ...], int] = {}  # phrases that are hardly seen but within a longer one → df of that
    for level in reversed(grams):
        for run, text, df, score in _phrases(words, number, level):
            if whole.get(run, 0) < SWALLOWED * df:
                spellings.setdefault(fold(text), []).append((df, text, score))
                for size in range(1, len(run)):
                    for start in range(len(run) - size + 1):
                        part = run[start : start + size]
                        whole[part] = max(df, whole.get(part, 0))
    found = []
    for ways in spellings.values():
        ways.sort(key=lambda way: (-way[0], way[1]))
        text = ways[0][1]
        df = min(number, sum(way[0] for way in ways))
        found.append(
            Mined(entity_key(PHRASE, text), text, PHRASE, df, round(max(way[2] for way in ways), 6),
                  tuple(way[1] for way in ways))
        )  # fmt: skip
    found.sort(key=lambda one: (-one.score, -one.df, one.key))
    return found[:most]


def dictionary(mined: Iterable[Mined]) -> Phrases:
    """The phrases in all their spellings, ready to be looked for."""
    mined = list(mined)
    entries = [(one.key, text) for one in mined for text in one.spellings or (one.text,)]
    return Phrases(entries, df={one.key: one.df for one in mined})


def tag(phrases: Phrases, caption: str, *, most: int = 15) -> tuple[str, ...]:
    """Keys of the entities that a caption mentions, most informative first: the rarest, where `phrases` knows how many
    products name them; then the longest, then the first in the caption."""
    best: dict[str, tuple[int, int, int]] = {}
    for mention in phrases.find(caption):
        for key in mention.keys:
            rank = (phrases.df.get(key, 0), -len(mention.text), mention.start)
            best[key] = min(rank, best.get(key, rank))
    return tuple(sorted(best, key=lambda key: (*best[key], key))[:most])


def fold(text: str) -> str:
    """What spellings of one entity have in common: letters and digits, without the accents of European scripts. Marks
    of other scripts are letters in all but name: バス is no ハス."""
    plain = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in plain if letter.isalnum() or mark(letter))


def _phrases(words: list[str], captions: int, grams: Grams) -> Iterable[tuple[tuple[int, ...], str, int, float]]:
    """(words, text, df, score) of those runs that are phrases."""
    single = grams.words.shape[1] == 1
    cohesion = grams.cohesion * (1 if single else grams.df / (grams.df + RARE))
    good = single | ((cohesion >= COHESION) & (grams.freedom >= FREEDOM))
    for place in np.flatnonzero(good):
        run = tuple(map(int, grams.words[place]))
        text = join(words[number] for number in run)
        if meaningful(words[run[0]]) and words[run[-1]] not in STOP_WORDS and _long_enough(text):
            df = int(grams.df[place])
            yield run, text, df, float(cohesion[place] * np.log2(1 + df))


def _long_enough(text: str) -> bool:
    least = LEAST_UNSPACED if any(map(unspaced, text)) else LEAST_LETTERS
    return least <= len(text) <= MOST_LETTERS
