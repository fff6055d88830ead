"""Which entities a title or description mentions, found by dictionary, as links of the graph.

The dictionary is what fields state somewhere in the catalogue, a file of one's own, and what the captions themselves
gave away (`kg.dictionary`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kg.catalogue.writing import put_entities
from kg.dictionary import Mining, mined_entities
from kg.errors import BadInput
from kg.graph.cypher import entities as cypher
from kg.graph.cypher.catalogue import ENTITY_COUNTS, REVISION_TAKE
from kg.graph.cypher.similarity import LEAVING
from kg.graph.driver import Graph, Tx
from kg.graph.edges import touch
from kg.mining import fold
from kg.phrases import Mention, Phrases
from kg.records import Entity, content_hash, normalise

__all__ = ["Mention", "Phrases", "match_phrases", "prune_entities", "read_dictionary"]

CAPTION, MINED = "caption", "mined"  # sources of links: what some field states, what only captions say


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


def match_phrases(
    graph: Graph, extra: Path | None = None, *, mining: Mining | None = None, most: int = 15, batch: int = 1000
) -> int:
    """Link every product whose caption is yet unmatched, or every product if the dictionary changed, to what its title
    and description mention and no field of it states; returns how many products changed.

    Args:
        graph: that is read and written.
        extra: a file as `read_dictionary` reads it.
        mining: whether captions also give the dictionary away; None: they do not, and what they gave is dropped.
        most: such links of one product: first what some field states, then what was mined, the rarest first.
        batch: products in one transaction.
    """
    own = {entity.key: entity for entity in (read_dictionary(extra) if extra else ())}
    mined = mined_entities(graph, mining)
    # The state after the mining, which may take minutes, and before the names: what a product up to `until` states is
    # among them.
    [state] = graph.read(cypher.PHRASES_STATE)
    until = state["revision"]
    entries, names = dict[str, str](), dict[str, frozenset[str]]()
    for row in graph.read(cypher.DICTIONARY):
        entries[row["key"]] = row["text"]
        names[row["key"]] = frozenset(normalise(text) for text in (row["text"], *(row["path"] or ())))
    entries |= {key: entity.text for key, entity in own.items()}
    stated: dict[str, list[str]] = {}
    for key, text in entries.items():
        stated.setdefault(fold(text), []).append(key)
    pairs, df = sorted(entries.items()), dict[str, int]()
    for one in mined:
        known = stated.get(fold(one.text), [])  # a phrase that some field states in whatever spelling is that entity
        if not known:
            own[one.key], df[one.key] = Entity(type=one.type, text=one.text), one.df
        pairs += [(key, text) for key in known or [one.key] for text in one.spellings]
    phrases = Phrases(pairs, df)
    dictionary = content_hash([pairs, sorted(df.items()), most])
    cursor, changed = state["cursor"] if state["dictionary"] == dictionary else 0, 0

    def work(tx: Tx) -> int:
        tx.run(REVISION_TAKE, n=0)  # the lock: no product changes between its reading and its linking
        # Numbers are dense: a window of them is a batch, and needs no sorting however many products there are.
        [found] = tx.run(cypher.CAPTIONS, after=cursor, until=min(until, cursor + batch))
        return _link(tx, found["products"], phrases, names, own, most)

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
        touch(tx, [row["key"] for row in tx.run(LEAVING)])
        return int(tx.run(cypher.ENTITIES_PRUNE, limit=batch)[0]["gone"])

    total = 0
    while gone := graph.transaction(work):
        total += gone
    return total


def _link(
    tx: Tx,
    products: list[list[Any]],
    phrases: Phrases,
    names: Mapping[str, frozenset[str]],
    own: Mapping[str, Entity],
    most: int,
) -> int:
    """Bring the caption links of these products up to date; returns how many products changed."""
    add: list[dict[str, str]] = []
    drop: list[dict[str, str]] = []
    for id, title, description, links in products:
        stated = {key for key, source in links if source not in (CAPTION, MINED)}
        standing = {(key, source) for key, source in links if source in (CAPTION, MINED)}
        wanted = _wanted(f"{title or ''}\n{description or ''}", stated, phrases, names, most)
        add += [{"id": id, "key": key, "source": source} for key, source in sorted(wanted - standing)]
        drop += [{"id": id, "key": key, "source": source} for key, source in sorted(standing - wanted)]
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


def _wanted(
    caption: str, stated: set[str], phrases: Phrases, names: Mapping[str, frozenset[str]], most: int
) -> set[tuple[str, str]]:
    """(key, source) of what a product's caption mentions and none of its own fields states."""
    texts = frozenset[str]().union(*(names.get(key, ()) for key in stated))
    ranks: dict[str, tuple[bool, int, int, str]] = {}
    for found in phrases.find(caption):
        if found.text in texts:
            continue
        for key in found.keys:
            if key not in stated:
                rank = (key in phrases.df, phrases.df.get(key, 0), -len(found.text), key)
                ranks[key] = min(rank, ranks.get(key, rank))
    best = sorted(ranks, key=lambda key: ranks[key])[:most]
    return {(key, MINED if key in phrases.df else CAPTION) for key in best}
