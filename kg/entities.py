"""Phrases in captions: which entities a title or description mentions, found by dictionary.

The dictionary is what fields state somewhere in the catalogue, plus a file of one's own. Words count whole in scripts
that part them by spaces; in Chinese, Japanese, Korean and Thai any occurrence counts. Of overlapping phrases the
leftmost wins, of those the longest: "rose gold" is no "rose".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ahocorasick

from kg.catalogue.writing import put_entities
from kg.errors import BadInput
from kg.graph.cypher import entities as cypher
from kg.graph.cypher.catalogue import ENTITY_COUNTS, REVISION_TAKE
from kg.graph.driver import Graph, Tx
from kg.records import Entity, content_hash, normalise
from kg.scripts import unspaced

__all__ = ["Mention", "Phrases", "match_phrases", "prune_entities", "read_dictionary"]

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


def read_dictionary(path: Path) -> list[Entity]:
    """Entities of a file of `type<TAB>text` lines; empty lines and those that start with # do not count.

    Raises:
        BadInput: no such file, not UTF-8, or a line of another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"phrase dictionary {path}: {error}") from error
    entities = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, tab, text = line.partition("\t")
        if not tab or not kind.strip() or not text.strip() or max(len(kind), len(text)) > 200:
            raise BadInput(f"phrase dictionary {path}, line {number}: {line!r} is not `type<TAB>text`")
        path_of = (text,) if normalise(kind) == "category" else ()
        entities.append(Entity(type=normalise(kind), text=text, path=path_of))
    return entities


def match_phrases(graph: Graph, extra: Path | None = None, *, batch: int = 1000) -> int:
    """Link every product whose caption is yet unmatched, or every product if the dictionary changed, to what its title
    and description mention and no field of it states; returns how many products changed.

    Args:
        graph: that is read and written.
        extra: a file as `read_dictionary` reads it.
        batch: products in one transaction.
    """
    own = {entity.key: entity for entity in (read_dictionary(extra) if extra else ())}
    entries = {row["key"]: row["text"] for row in graph.read(cypher.DICTIONARY)}
    entries |= {key: entity.text for key, entity in own.items()}
    phrases, dictionary = Phrases(entries.items()), content_hash(sorted(entries))
    [state] = graph.read(cypher.PHRASES_STATE)
    until = state["revision"]
    cursor, changed = state["cursor"] if state["dictionary"] == dictionary else 0, 0

    def work(tx: Tx) -> int:
        tx.run(REVISION_TAKE, n=0)  # the lock: no product changes between its reading and its linking
        # Numbers are dense: a window of them is a batch, and needs no sorting however many products there are.
        return _link(tx, tx.run(cypher.CAPTIONS, after=cursor, until=min(until, cursor + batch)), phrases, own)

    while cursor < until:
        changed += graph.transaction(work)
        cursor += batch
    [after] = graph.read(cypher.PHRASES_STATE)
    # The links made here took numbers too; if nobody else did, those need no second look.
    done = after["revision"] if after["revision"] == until + changed else until
    if (done, dictionary) != (state["cursor"], state["dictionary"]):
        graph.write(cypher.PHRASES_DONE, cursor=done, dictionary=dictionary)
    return changed


def prune_entities(graph: Graph, *, batch: int = 1000) -> int:
    """Take out entities that no product names any more, and categories above nothing; returns how many."""

    def work(tx: Tx) -> int:
        tx.run(REVISION_TAKE, n=0)  # the lock: nobody links to one of them meanwhile
        return int(tx.run(cypher.ENTITIES_PRUNE, limit=batch)[0]["gone"])

    total = 0
    while gone := graph.transaction(work):
        total += gone
    return total


def _link(tx: Tx, rows: list[dict[str, Any]], phrases: Phrases, own: Mapping[str, Entity]) -> int:
    """Bring the caption links of these products up to date; returns how many products changed."""
    add: list[dict[str, str]] = []
    drop: list[dict[str, str]] = []
    for row in rows:
        links = [link for link in row["links"] if link["key"]]
        stated = [link for link in links if link["source"] != "caption"]
        texts = {normalise(text) for link in stated for text in (link["text"], *(link["path"] or ()))}
        caption = f"{row['title'] or ''}\n{row['description'] or ''}"
        wanted = {key for found in phrases.find(caption) if found.text not in texts for key in found.keys}
        wanted -= {link["key"] for link in stated}
        standing = {link["key"] for link in links if link["source"] == "caption"}
        add += [{"id": row["id"], "key": key} for key in sorted(wanted - standing)]
        drop += [{"id": row["id"], "key": key} for key in sorted(standing - wanted)]
    changed = sorted({link["id"] for link in (*add, *drop)})
    if not changed:
        return 0
    before = tx.run(REVISION_TAKE, n=len(changed))[0]["before"]
    put_entities(tx, [own[key] for key in sorted({link["key"] for link in add} & own.keys())])
    tx.run(cypher.MENTIONS_CLEAR, rows=drop)
    tx.run(cypher.MENTIONS, rows=add)
    counts = Counter(link["key"] for link in add)
    counts.subtract(link["key"] for link in drop)
    tx.run(ENTITY_COUNTS, rows=[{"key": key, "n": n} for key, n in sorted(counts.items()) if n])
    tx.run(cypher.REVISIONS, rows=[{"id": id, "revision": before + n} for n, id in enumerate(changed, 1)])
    return len(changed)


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
    return left.isalnum() and right.isalnum() and not unspaced(left) and not unspaced(right)
