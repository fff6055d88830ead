"""Names of filters into keys of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kg.errors import BadFilter, TooLarge
from kg.filters import Filters
from kg.graph.cypher import filters as cypher
from kg.graph.driver import Graph
from kg.graph.readonly import ask
from kg.graph.selection import Reach, Selection
from kg.records import entity_key, normalise

__all__ = ["select"]

UNKNOWN = 1e9  # products of a start whose size the graph does not tell


def select(graph: Graph, filters: Filters, *, max_ids: int, timeout_s: float) -> Selection:
    """Resolve names to entities, categories to all below them, `near` to its neighbourhood, `cypher` to ids.

    A name that nothing bears admits nothing (never everything) and is noted.

    Args:
        graph: where the names are looked up.
        filters: what is asked.
        max_ids: most products that the Cypher pattern may return.
        timeout_s: longest run of that pattern, in seconds.

    Raises:
        BadQuery: the pattern writes, does not parse or runs too long.
        BadFilter: the pattern returns something else than product ids.
        TooLarge: the pattern returns more than `max_ids` rows.
    """
    return _Resolver(graph).resolve(filters, max_ids, timeout_s)


class _Resolver:
    """Names into keys; one of these lives for one `select`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.texts: dict[str, str] = {}
        self.sizes: dict[str, float] = {}
        self.above: dict[str, str] = {}
        self.notes: list[str] = []

    def resolve(self, filters: Filters, max_ids: int, timeout_s: float) -> Selection:
        asked: dict[str, Any] = {}
        reach: dict[str, Reach] = {}
        starts: list[tuple[float, str, Sequence[str]]] = [(2 * UNKNOWN, cypher.START_ALL, ())]

        def linked(name: str, keys: Iterable[str]) -> None:
            asked[name] = sorted(keys)
            starts.append((sum(self.sizes[key] for key in asked[name]), cypher.START_ENTITIES, asked[name]))

        if filters.brand:
            linked("brands", self._named("brand", filters.brand))
        if filters.category:
            linked("categories", self._below(self._named("category", filters.category)))
        if filters.entity:
            linked("entities", self._below(self._entities("entity", filters.entity)))
        if filters.near:
            reach = self._around(self._entities("near", filters.near), filters.hops, filters.min_weight)
            linked("near", self._below(reach))
        if filters.seller:
            asked["sellers"] = sorted(set(filters.seller))
            starts.append((UNKNOWN, cypher.START_SELLERS, asked["sellers"]))
        if filters.min_price is not None:
            asked["min_price"] = filters.min_price
        if filters.max_price is not None:
            asked["max_price"] = filters.max_price
        if filters.updated_since is not None:
            asked["updated_since"] = filters.updated_since.isoformat()
        if filters.cypher is not None:
            asked["pattern"] = self._pattern(filters.cypher, max_ids, timeout_s)
            starts.append((len(asked["pattern"]), cypher.START_IDS, asked["pattern"]))
        _, start, values = min(starts, key=lambda item: item[0])
        return Selection(
            asked=asked,
            texts=self.texts,
            above=self.above,
            reach=reach,
            notes=tuple(self.notes),
            start=start,
            start_values=tuple(values),
        )

    def _learn(self, rows: Iterable[Mapping[str, Any]]) -> set[str]:
        found = set()
        for row in rows:
            self.texts[row["key"]] = row["text"]
            self.sizes[row["key"]] = UNKNOWN if row["df"] is None else float(row["df"])
            found.add(row["key"])
        return found

    def _by_key(self, keys: Iterable[str]) -> set[str]:
        return self._learn(self.graph.read(cypher.ENTITIES_BY_KEY, keys=sorted(set(keys))))

    def _by_ending(self, endings: Iterable[str], prefix: str = "", texts: set[str] | None = None) -> set[str]:
        """Entities whose key begins with `prefix` and ends so, and whose own text is one of `texts` (None: any)."""
        rows = self.graph.read(cypher.ENTITIES_BY_TEXT, endings=sorted(set(endings)))
        return self._learn(
            row for row in rows if row["key"].startswith(prefix) and (texts is None or normalise(row["text"]) in texts)
        )

    def _named(self, kind: str, values: Sequence[str]) -> set[str]:
        """Brands or categories by key or by name; of a category the end of its path will do."""
        prefix, found = f"{kind}:", set()
        for value in values:
            names = {normalise(value)}
            if kind == "category":  # `Home>Candles` is a path too; a name may hold `>` itself
                names |= {" > ".join(part.strip() for part in name.split(">")) for name in names}
            keys = {name for name in names if name.startswith(prefix)}
            hits = self._by_key(keys | {entity_key(kind, name) for name in names})
            if kind == "category" and not hits & keys:
                hits |= self._by_ending([f" > {name}" for name in names], prefix)
            if not hits:
                self.notes.append(f"no {kind} {value!r} in the graph")
            found |= hits
        return found

    def _entities(self, name: str, values: Sequence[str]) -> set[str]:
        """Entities by key, or else all that bear the text."""
        found = set()
        for value in values:
            text = normalise(value)
            hits = self._by_key([text]) or self._by_ending([f":{text}", f" > {text}"], texts={text})
            if not hits:
                self.notes.append(f"{name}: no entity {value!r} in the graph")
            found |= hits
        return found

    def _below(self, keys: Iterable[str]) -> set[str]:
        """The keys and every category below them."""
        found = set(keys)
        edge = {key for key in found if key.startswith("category:")}
        while edge:
            rows = [row for row in self.graph.read(cypher.BELOW, keys=sorted(edge)) if row["key"] not in found]
            self.above.update((row["key"], row["parent"]) for row in rows)
            edge = self._learn(rows)
            found |= edge
        return found

    def _around(self, seeds: Iterable[str], hops: int, min_weight: float) -> dict[str, Reach]:
        """Seeds and their neighbours up to `hops` edges of `min_weight` or more, breadth first."""
        reach = {key: Reach(None, 1.0, 1.0) for key in sorted(seeds)}
        edge = list(reach)
        for _ in range(hops):
            if not edge:
                break
            ways: dict[str, Reach] = {}
            rows = self.graph.read(cypher.NEIGHBOURS, keys=edge, min_weight=min_weight)
            fresh = [row for row in rows if row["key"] not in reach]
            self._learn(fresh)
            for row in sorted(fresh, key=lambda row: row["source"]):
                way = Reach(row["source"], row["weight"], row["weight"] * reach[row["source"]].strength)
                if row["key"] not in ways or way.strength > ways[row["key"]].strength:
                    ways[row["key"]] = way
            reach.update(ways)
            edge = sorted(ways)
        return reach

    def _pattern(self, text: str, max_ids: int, timeout_s: float) -> list[str]:
        answer = ask(self.graph, text, {}, max_rows=max_ids, timeout_s=timeout_s)
        if len(answer.columns) > 1:  # ArcadeDB names no columns of no rows
            raise BadFilter(
                f"filter cypher returns {', '.join(answer.columns)}: it must return product ids in one column",
                field="cypher",
            )
        if answer.truncated:
            raise TooLarge(f"filter cypher returns more than {max_ids} rows", hint="narrow the pattern", field="cypher")
        values = [row[0] for row in answer.rows]
        if wrong := [value for value in values if not isinstance(value, str)]:
            raise BadFilter(f"filter cypher returns {wrong[0]!r}: product ids are text", field="cypher")
        known = {row["id"] for row in self.graph.read(f"{cypher.START_IDS}\n{cypher.END_IDS}", start=values)}
        if strays := sorted(set(values) - known):
            raise BadFilter(f"filter cypher returns {strays[0]!r}, which is no product id", field="cypher")
        return sorted(known)
