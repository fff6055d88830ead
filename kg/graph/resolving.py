"""Names of filters into keys of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kg.conditions import All, AnyOf, Condition, Leaf, Not, Reach, folded
from kg.errors import BadFilter, BadQuery, TooLarge
from kg.filters import Filters, place_of
from kg.graph.cypher import filters as cypher
from kg.graph.driver import Graph
from kg.graph.neighbours import Neighbours
from kg.graph.readonly import ask
from kg.graph.selection import Selection
from kg.records import entity_key, normalise
from kg.stores import Stores

__all__ = ["select", "selected"]

UNKNOWN = 1e9  # products of a start whose size the graph does not tell
LINKS = ("brands", "categories", "entities", "near")  # conditions whose keys are entities
START_ALL: tuple[str, Sequence[str]] = (cypher.START_ALL, ())
Found = tuple[float, str, Sequence[str]]  # how many products a start binds, its Cypher, its parameter


def select(
    graph: Graph, filters: Filters, *, max_ids: int, timeout_s: float, neighbours: Neighbours | None = None
) -> Selection:
    """Resolve names to entities, categories to all below them, `near` to its neighbourhood, `cypher` to ids.

    A name that nothing bears admits nothing (never everything) and is noted.

    Args:
        graph: where the names are looked up.
        filters: what is asked.
        max_ids: most products that a Cypher pattern may return.
        timeout_s: longest run of a pattern, in seconds.
        neighbours: what is known of edges from earlier calls.

    Raises:
        BadQuery: the pattern writes, does not parse or runs too long.
        BadFilter: the pattern returns something else than product ids; the message names its place in the filters.
        TooLarge: the pattern returns more than `max_ids` rows.
    """
    return _Resolver(graph, max_ids, timeout_s, neighbours or Neighbours(graph)).resolve(filters)


def selected(stores: Stores, filters: Filters) -> Selection:
    """The same, with the bounds of the settings."""
    bounds = stores.settings
    return select(
        stores.graph, filters, max_ids=bounds.ids_max, timeout_s=bounds.cypher_timeout_s, neighbours=stores.neighbours
    )


class _Resolver:
    """Names into keys; one of these lives for one `select`."""

    def __init__(self, graph: Graph, max_ids: int, timeout_s: float, neighbours: Neighbours) -> None:
        self.graph, self.max_ids, self.timeout_s, self.neighbours = graph, max_ids, timeout_s, neighbours
        self.texts: dict[str, str] = {}
        self.sizes: dict[str, float] = {}
        self.above: dict[str, str] = {}
        self.notes: list[str] = []

    def resolve(self, filters: Filters) -> Selection:
        flat = self._leaves(filters, "")
        more = self._nested(filters, "")
        start, values = START_ALL
        if found := self._start(folded(All((*flat, *more)))):
            _, start, values = found
        return Selection(
            asked={leaf.name: leaf.value for leaf in flat},
            texts=self.texts,
            above=self.above,
            reach=next((leaf.reach for leaf in flat if leaf.name == "near"), {}),
            more=more,
            notes=tuple(dict.fromkeys(self.notes)),
            start=start,
            start_values=tuple(values),
        )

    def _condition(self, filters: Filters, place: str) -> Condition:
        return All((*self._leaves(filters, place), *self._nested(filters, place)))

    def _nested(self, filters: Filters, place: str) -> tuple[Condition, ...]:
        """What `all`, `any` and `not` ask."""

        def parts(join: str, inner: Sequence[Filters]) -> tuple[Condition, ...]:
            return tuple(self._condition(one, place_of(place, join, n, len(inner))) for n, one in enumerate(inner))

        found = list(parts("all", filters.all))
        if filters.any:
            found.append(AnyOf(parts("any", filters.any)))
        if filters.not_:
            found.append(Not(AnyOf(parts("not", filters.not_))))
        return tuple(found)

    def _leaves(self, filters: Filters, above: str) -> tuple[Leaf, ...]:
        """What the fields ask, but for those that hold filters."""
        found: list[Leaf] = []

        def ask_for(name: str, field: str, value: Any, reach: Mapping[str, Reach] | None = None) -> None:
            found.append(Leaf(name, value, f"{above}.{field}".lstrip("."), reach or {}))

        if filters.brand:
            ask_for("brands", "brand", sorted(self._named("brand", filters.brand)))
        if filters.category:
            ask_for("categories", "category", sorted(self._below(self._named("category", filters.category))))
        if filters.entity:
            ask_for("entities", "entity", sorted(self._below(self._entities("entity", filters.entity))))
        if filters.near:
            reach = self._around(self._entities("near", filters.near), filters.hops, filters.min_weight)
            ask_for("near", "near", sorted(self._below(reach)), reach)
        if filters.seller:
            ask_for("sellers", "seller", sorted(set(filters.seller)))
        if filters.min_price is not None:
            ask_for("min_price", "min_price", filters.min_price)
        if filters.max_price is not None:
            ask_for("max_price", "max_price", filters.max_price)
        if filters.updated_since is not None:
            ask_for("updated_since", "updated_since", filters.updated_since.isoformat())
        if filters.cypher is not None:
            place = f"{above}.cypher".lstrip(".")
            ask_for("pattern", "cypher", self._pattern(filters.cypher, place))
        return tuple(found)

    def _start(self, condition: Condition) -> Found | None:
        """The smallest start that all products must lie in that pass the (folded) condition, None for all there are."""
        match condition:
            case Leaf(name="pattern", value=value):
                return len(value), cypher.START_IDS, value
            case Leaf(name="sellers", value=value):
                return UNKNOWN, cypher.START_SELLERS, value
            case Leaf(name=name, value=value) if name in LINKS:
                size = sum(self.sizes[key] for key in value)
                return (size, cypher.START_ENTITIES, value) if size < 2 * UNKNOWN else None
            case All(parts=parts):
                starts = [start for part in parts if (start := self._start(part))]
                return min(starts, key=lambda start: start[0], default=None)
            case AnyOf(parts=parts):
                either = [self._start(part) for part in parts]
                known = [start for start in either if start]
                if len(known) == len(either) and len({text for _, text, _ in known}) == 1:
                    values = sorted(set().union(*(values for _, _, values in known)))
                    return sum(size for size, _, _ in known), known[0][1], values
        return None

    def _learn(self, rows: Iterable[Mapping[str, Any]]) -> set[str]:
        found = set()
        for row in rows:
            self._note(row["key"], row["text"], row["df"])
            found.add(row["key"])
        return found

    def _note(self, key: str, text: str, df: int | None) -> None:
        self.texts[key] = text
        self.sizes[key] = UNKNOWN if df is None else float(df)

    def _by_key(self, keys: Iterable[str]) -> set[str]:
        return self._learn(self.graph.read(cypher.ENTITIES_BY_KEY, keys=sorted(set(keys))))

    def _by_ending(self, endings: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of the entities whose key ends so. Walks all entities, so it is asked once for many."""
        wanted = sorted(set(endings))
        return self.graph.read(cypher.ENTITIES_BY_TEXT, endings=wanted) if wanted else []

    def _named(self, kind: str, values: Sequence[str]) -> set[str]:
        """Brands or categories by key or by name; of a category the end of its path will do."""
        names = {value: {normalise(value)} for value in values}
        if kind == "category":  # `Home>Candles` is a path too; a name may hold `>` itself
            for mine in names.values():
                mine |= {" > ".join(part.strip() for part in name.split(">")) for name in mine}
        keys = {value: {name for name in mine if name.startswith(f"{kind}:")} for value, mine in names.items()}
        either = {value: keys[value] | {entity_key(kind, name) for name in mine} for value, mine in names.items()}
        there = self._by_key(set().union(*either.values()))
        hits = {value: there & mine for value, mine in either.items()}
        if kind == "category":
            ends = {value: tuple(f" > {name}" for name in names[value]) for value in values if not there & keys[value]}
            for row in self._by_ending(end for value in ends for end in ends[value]):
                for value, end in ends.items():
                    if row["key"].startswith(f"{kind}:") and row["key"].endswith(end):
                        hits[value] |= self._learn([row])
        self.notes += [f"no {kind} {value!r} in the graph" for value, found in hits.items() if not found]
        return set().union(*hits.values())

    def _entities(self, name: str, values: Sequence[str]) -> set[str]:
        """Entities by key, or else all that bear the text."""
        texts = {value: normalise(value) for value in values}
        there = self._by_key(texts.values())
        hits = {value: {text} & there for value, text in texts.items()}
        by_text: dict[str, list[str]] = {}
        for value, text in texts.items():
            if not hits[value]:
                by_text.setdefault(text, []).append(value)
        for row in self._by_ending(end for text in by_text for end in (f":{text}", f" > {text}")):
            text = normalise(row["text"])
            if row["key"].endswith((f":{text}", f" > {text}")):
                for value in by_text.get(text, ()):
                    hits[value] |= self._learn([row])
        self.notes += [f"{name}: no entity {value!r} in the graph" for value, found in hits.items() if not found]
        return set().union(*hits.values())

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
        edge, version = list(reach), self.neighbours.version()
        for _ in range(hops):
            if not edge:
                break
            ways: dict[str, Reach] = {}
            for source, others in sorted(self.neighbours.of(edge, version).items()):
                for other in others:
                    if other.key in reach or other.weight < min_weight:
                        continue
                    way = Reach(source, other.weight, other.weight * reach[source].strength)
                    if other.key not in ways or way.strength > ways[other.key].strength:
                        ways[other.key] = way
                        self._note(other.key, other.text, other.df)
            reach.update(ways)
            edge = sorted(ways)
        return reach

    def _pattern(self, text: str, place: str) -> list[str]:
        """Ids of the products that the pattern returns."""
        try:
            answer = ask(self.graph, text, {}, max_rows=self.max_ids, timeout_s=self.timeout_s)
        except BadQuery as error:
            more = {**error.detail, "field": place}
            raise BadQuery(f"filter {place}: {error.message}", hint=error.hint, **more) from error
        if len(answer.columns) > 1:  # ArcadeDB names no columns of no rows
            raise BadFilter(
                f"filter {place} returns {', '.join(answer.columns)}: it must return product ids in one column",
                field=place,
            )
        if answer.truncated:
            message = f"filter {place} returns more than {self.max_ids} rows"
            raise TooLarge(message, hint="narrow the pattern", field=place)
        values = [row[0] for row in answer.rows]
        if wrong := [value for value in values if not isinstance(value, str)]:
            raise BadFilter(f"filter {place} returns {wrong[0]!r}: product ids are text", field=place)
        known = {row["id"] for row in self.graph.read(f"{cypher.START_IDS}\n{cypher.END_IDS}", start=values)}
        if strays := sorted(set(values) - known):
            raise BadFilter(f"filter {place} returns {strays[0]!r}, which is no product id", field=place)
        return sorted(known)
