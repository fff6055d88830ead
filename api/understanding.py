"""Entities that a text means: named outright, by their words, or near to it in the space of entity vectors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from api.words import query_words
from kg import feed
from kg.entities import Phrases
from kg.errors import BadInput, EncoderMismatch
from kg.graph import neighbourhood
from kg.graph.cypher import browse
from kg.graph.cypher.neighbourhood import ENTITY_TYPES
from kg.graph.neighbourhood import Node
from kg.records import entity_key, normalise
from kg.scripts import unspaced
from kg.stores import Stores
from kg.words import meaningful

__all__ = ["EntityFinder", "Found", "Understood"]

How = Literal["mention", "words", "vector"]
Near = Callable[[Sequence[str], int, Sequence[str]], list[list[tuple[str, float]]]]

MOST_WORDS = 48  # of a text: what stands behind them is not looked at
LONGEST = 6  # words of a phrase
LONGEST_UNSPACED = 10  # letters of one in a script without spaces
CANDIDATES = 200  # entities that the full-text index gives
SHARE = 0.5  # an entity found by its words has more of them than this in the text
LOOSE = 0.9  # what words out of their order count, compared with the phrase itself
NEAREST = 5  # entities by vector, for each part of the text that nothing names
LEAST_COSINE = 0.6  # of these
NO_VECTORS = "there are no entity vectors: entities are found by their words alone (`skugraph gnn` makes vectors)"
KNOWN_S = 60.0  # how long the types of entities are remembered without a look at what has changed


@dataclass(frozen=True, slots=True)
class Found:
    """An entity that a text means.

    Attributes:
        score: 1 for one that is named; else the share of its words, or the cosine; never above 1.
        how: named as it is (`mention`), by most of its words (`words`), or by its vector (`vector`).
        words: of the text, that led to it.
    """

    key: str
    text: str
    type: str
    df: int
    score: float
    how: How
    words: str


@dataclass(frozen=True)
class Understood:
    """What a text means, best first, and what one should know of it."""

    found: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    """Types of entities, as of a revision; looked up at a monotonic time."""

    at: float
    revision: int
    kinds: tuple[str, ...]


class EntityFinder:
    """Finds entities in texts; threads may share it.

    Args:
        stores: both stores, open.
        near: texts, k and types → for each text the (key, cosine) of the nearest entities; None without such vectors.
    """

    def __init__(self, stores: Stores, near: Callable[[], Near | None] = lambda: None) -> None:
        self.stores, self._near = stores, near
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._renewing: threading.Thread | None = None

    def find(self, text: str, *, types: Sequence[str] = (), most: int = 20) -> Understood:
        """Entities that `text` means.

        Args:
            text: as a person writes it.
            types: only of these; empty: of any.
            most: entities in the answer.
        """
        words = query_words(text)[:MOST_WORDS]
        if not words:
            return Understood(notes=(f"{text[:80]!r} has no words to find entities by",) if text else ())
        wanted = {normalise(kind) for kind in types}
        named, by_words = self._named(text, wanted), self._searched(words, wanted)
        known = named | by_words
        mentions = Phrases((node.key, node.text) for node in known.values()).find(text)
        found = [_found(known[key], 1.0, "mention", one.text) for one in mentions for key in one.keys]
        taken = {word for one in mentions for word in query_words(one.text)}
        free = {word for word in words if word not in taken and meaningful(word)}
        found += _by_words(by_words.values(), words, free)
        notes: tuple[str, ...] = ()
        try:
            if (near := self._near()) is None:
                notes = (NO_VECTORS,)
            elif free or mentions:
                found += self._by_vector(near, text, free, sorted(wanted))
        except (BadInput, EncoderMismatch) as error:  # words find entities all the same
            notes = (f"entity vectors cannot be asked: {error}",)
        best: dict[str, Found] = {}
        for one in sorted(found, key=lambda one: (-one.score, one.how, -one.df, one.key)):
            best.setdefault(one.key, one)
        return Understood(tuple(best.values())[:most], notes)

    @property
    def products(self) -> int:
        """How many there are."""
        return self.stores.statistics.products()

    def _named(self, text: str, wanted: set[str]) -> dict[str, Node]:
        """Entities whose whole text stands somewhere in it: asked for by key, so that none is missed however many
        there are. (A category deeper down has its path for a key; the full-text index finds it.)"""
        kinds = sorted(wanted) or self._remembered().kinds
        keys = [entity_key(kind, phrase) for phrase in _phrases(text) for kind in kinds]
        return neighbourhood.nodes(self.stores.graph, keys) if keys else {}

    def _searched(self, words: Sequence[str], wanted: set[str]) -> dict[str, Node]:
        found: dict[str, Node] = {}
        kinds: list[str | None] = [*sorted(wanted)] or [None]
        for kind in kinds:
            rows = self.stores.graph.read(browse.ENTITY_SEARCH, query=" ".join(words), type=kind, limit=CANDIDATES)
            found |= {
                row["key"]: Node(row["key"], row["text"] or "", row["type"] or "", int(row["df"] or 0)) for row in rows
            }
        return found

    def _by_vector(self, near: Near, text: str, free: set[str], types: Sequence[str]) -> list[Found]:
        """Entities near to the text, and to each run of its words that no phrase has named."""
        asked = list(dict.fromkeys([normalise(text), *_runs(text, free)]))[:NEAREST]
        hits = [
            (key, score, words)
            for words, nearest in zip(asked, near(asked, NEAREST, types), strict=True)
            for key, score in nearest
            if score >= LEAST_COSINE
        ]
        there = neighbourhood.nodes(self.stores.graph, [key for key, _, _ in hits]) if hits else {}
        return [
            _found(there[key], min(round(score, 6), 1.0), "vector", words)
            for key, score, words in hits
            if key in there  # one that is gone since has its vector still
        ]

    def _remembered(self) -> _Known:
        """What is known of the types. Only the first to ask waits for it: later on another thread looks, where
        something has changed, and what was known is good enough meanwhile."""
        with self._lock:
            if self._known is None:
                self._known = self._look()
            elif time.monotonic() - self._known.at >= KNOWN_S and self._renewing is None:
                self._renewing = threading.Thread(target=self._renew, args=(self._known,), daemon=True)
                self._renewing.start()
            return self._known

    def _renew(self, known: _Known) -> None:
        try:
            same = self._revision() == known.revision
            fresh = replace(known, at=time.monotonic()) if same else self._look()
        except Exception:
            fresh = replace(known, at=time.monotonic())  # a graph that is down fails the request itself
        with self._lock:
            self._known, self._renewing = fresh, None

    def _look(self) -> _Known:
        graph, revision = self.stores.graph, self._revision()  # the revision first: what comes meanwhile is looked at
        return _Known(time.monotonic(), revision, tuple(sorted(row["type"] for row in graph.read(ENTITY_TYPES))))

    def _revision(self) -> int:
        return feed.revision(self.stores.graph)


def _found(node: Node, score: float, how: How, words: str) -> Found:
    return Found(node.key, node.text, node.type, node.df, score, how, words)


def _by_words(nodes: Iterable[Node], words: Sequence[str], free: set[str]) -> list[Found]:
    """Entities most of whose words are in the text, one of them at least where no phrase has been named."""
    found = []
    for node in nodes:
        own = set(query_words(node.text))
        shared = [word for word in words if word in own]
        if own and own & free and len(shared) / len(own) > SHARE:
            found.append(_found(node, round(LOOSE * len(shared) / len(own), 6), "words", " ".join(shared)))
    return found


def _phrases(text: str) -> list[str]:
    """What may be the text of an entity: runs of a few words, and of letters where words are not spaced."""
    parts = normalise(text).split(" ")[:MOST_WORDS]
    runs = {
        " ".join(parts[at : at + length]).strip(".,;:!?()[]\"'")
        for at in range(len(parts))
        for length in range(1, LONGEST + 1)
    }
    letters = "".join(letter for part in parts for letter in part if unspaced(letter))[:MOST_WORDS]
    runs |= {letters[at : at + n] for at in range(len(letters)) for n in range(2, LONGEST_UNSPACED + 1)}
    return sorted(run for run in runs if run)


def _runs(text: str, free: set[str]) -> list[str]:
    """Runs of words of the text that are all free."""
    runs: list[list[str]] = [[]]
    for word in query_words(text)[:MOST_WORDS]:
        if word in free:
            runs[-1].append(word)
        else:
            runs.append([])
    return [" ".join(run) for run in runs if run]
