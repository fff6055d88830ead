"""What filters mean in keys of the graph, and the products that it admits.

`kg.graph.resolving.select` makes a Selection out of Filters; the statements stand in kg/graph/cypher/filters.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kg.conditions import EVERYTHING, NOTHING, All, Condition, Leaf, Reach, folded
from kg.graph.cypher import filters as cypher
from kg.graph.driver import Graph, again

__all__ = ["Reach", "Selection", "count", "facet", "ids", "linked", "members", "page", "stream_ids", "words"]

# Fields of the filters whose conditions bear another name.
FIELDS = {"brands": "brand", "categories": "category", "entities": "entity", "sellers": "seller", "pattern": "cypher"}
LEAST_WORDS = 2000  # matches of words that are looked at under a filter: cheap, and mostly enough
MOST_WORDS = 50_000  # beyond, all of them cost little more
ALL = 2**31 - 1
Start = tuple[str, Sequence[str]]  # where the graph begins to look: a START of the Cypher, and its parameter


@dataclass(frozen=True)
class Selection:
    """What the filters ask, in keys of the graph.

    Attributes:
        asked: a parameter for each condition of `kg.graph.cypher.filters.CONDITIONS` in use; joined by *and*.
        more: conditions joined to these by *and*.
        texts: display text of each entity key in play.
        above: parent of each category that is meant because the parent was asked for.
        reach: how each entity of the condition `near` is reached.
        notes: what one should know, such as a brand that does not exist.
        start, start_values: where the graph begins to look (the smallest of what is asked), and its parameter.
    """

    asked: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    above: Mapping[str, str] = field(default_factory=dict)
    reach: Mapping[str, Reach] = field(default_factory=dict)
    more: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()
    start: str = cypher.START_ALL
    start_values: tuple[str, ...] = ()

    @cached_property
    def tree(self) -> Condition:
        """All that is asked, folded (`kg.conditions.folded`)."""
        flat = (
            Leaf(name, value, place=FIELDS.get(name, name), reach=self.reach if name == "near" else {})
            for name, value in self.asked.items()
        )
        return folded(All((*flat, *self.more)))

    @property
    def everything(self) -> bool:
        """True where every product is admitted."""
        return self.tree == EVERYTHING

    @property
    def nothing(self) -> bool:
        """True where no product can be admitted, such as of a brand that does not exist."""
        return self.tree == NOTHING


def count(graph: Graph, selection: Selection, limit: int) -> int:
    """Number of admitted products, counted up to `limit`."""
    if (known := _known(selection)) is not None:
        return min(len(known), limit)
    return 0 if selection.nothing else int(_read(graph, selection, cypher.END_COUNT, limit=limit)[0]["n"])


def ids(graph: Graph, selection: Selection) -> list[str]:
    """Ids of all admitted products, sorted."""
    if (known := _known(selection)) is not None:
        return known
    return again(lambda: sorted(stream_ids(graph, selection)))


def stream_ids(graph: Graph, selection: Selection) -> Iterator[str]:
    """Ids of all admitted products, in no order, in flat memory."""
    if not selection.nothing:
        text, parameters = _statement(selection, cypher.END_IDS)
        yield from _those_there(graph.stream(text, **parameters))


def page(graph: Graph, selection: Selection, limit: int) -> list[str]:
    """The first `limit` admitted products by id."""
    rows = [] if selection.nothing else _read(graph, selection, cypher.END_PAGE, limit=limit)
    return list(_those_there(rows))


def members(graph: Graph, selection: Selection, candidates: Iterable[str]) -> set[str]:
    """Those of the candidates that exist and are admitted."""
    start = sorted(set(candidates))
    if selection.nothing or not start:
        return set()
    rows = _read(graph, selection, cypher.END_IDS, start=(cypher.START_IDS, start))
    return set(_those_there(rows))


def words(graph: Graph, selection: Selection, query: str, limit: int) -> list[tuple[str, float]]:
    """(id, BM25 score) of the admitted products that match a full-text query best. Of equal scores at the end of the
    list those count that the index has first; they are given by id.

    A word of half the catalogue matches half the catalogue. So the index is asked for its best; where too few of those
    are admitted, for as many more as their share suggests, if that is not too many; and where these do not do, for all.
    """
    if selection.nothing or not query:
        return []
    start = (cypher.START_WORDS, ())

    def first(most: int) -> list[dict[str, Any]]:
        return _read(graph, selection, cypher.END_WORDS, start=start, words=query, most=most, limit=limit)

    most = limit if selection.everything else max(LEAST_WORDS, 4 * limit)
    rows = first(most)
    if len(rows) < limit and not selection.everything:
        guess = 2 * most * limit // max(1, len(rows))
        for most in (guess, ALL) if guess < MOST_WORDS else (ALL,):
            rows = first(most)
            if len(rows) >= limit:
                break
    found = [(row["id"], float(row["score"])) for row in rows if row["id"] is not None]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def linked(
    graph: Graph, selection: Selection, rows: Sequence[Mapping[str, Any]], limit: int
) -> list[tuple[str, float]]:
    """(id, score) of the admitted products that gain most by the entities they are linked to, ties by id.

    Args:
        graph: that is read.
        selection: what admits.
        rows: key, seed, gain of each entity, as `kg.graph.neighbourhood.gains` makes them.
        limit: most products.
    """
    if selection.nothing or not rows:
        return []
    start = (cypher.START_LINKED, ())
    found = _read(graph, selection, cypher.END_BEST, start=start, rows=list(rows), limit=limit)
    return [(row["id"], float(row["score"])) for row in found]


def facet(graph: Graph, selection: Selection, end: str) -> list[dict[str, Any]]:
    """Rows (key, text, n) of END_BRANDS or END_CATEGORIES, the most frequent first."""
    rows = [] if selection.nothing else _read(graph, selection, end)
    return sorted(rows, key=lambda row: (-row["n"], row["key"]))


def _those_there(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Their ids. Neo4j gives null for a product that another transaction removed after it was found."""
    return (row["id"] for row in rows if row["id"] is not None)


def _known(selection: Selection) -> list[str] | None:
    """All admitted ids, where a pattern is all that is asked."""
    tree = selection.tree
    return list(tree.value) if isinstance(tree, Leaf) and tree.name == "pattern" else None


def _statement(selection: Selection, end: str, start: Start | None = None) -> tuple[str, dict[str, Any]]:
    begin, values = start or (selection.start, selection.start_values)
    where, parameters = cypher.where(selection.tree)
    started = {"start": list(values)} if values else {}
    return f"{begin}\n{f'WHERE {where}' if where else ''}\n{end}", parameters | started


def _read(
    graph: Graph, selection: Selection, end: str, *, start: Start | None = None, **more: Any
) -> list[dict[str, Any]]:
    text, parameters = _statement(selection, end, start)
    return graph.read(text, **parameters, **more)
