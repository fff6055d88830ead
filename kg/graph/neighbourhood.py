"""What lies around entities over SIMILAR_TO: for a search that starts from words, and for looking at the graph."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kg.graph.cypher import filters as filtering
from kg.graph.cypher import neighbourhood as cypher
from kg.graph.driver import Graph
from kg.graph.selection import Selection

__all__ = ["Neighbourhood", "Node", "Step", "Way", "around", "edges_between", "gains", "narrowed", "nodes"]

ROWS = 4  # edges read for each entity that may be kept: a pair has one for each source
GRAIN = 1 << 20  # a gain is a whole number of these parts, so that sums do not depend on their order


@dataclass(frozen=True, slots=True)
class Node:
    """An entity.

    Attributes:
        df: number of products that have it.
        confounding: how much its words mislead, where an encoder's training has found it out; see `kg.confounding`.
        chosen: that encoder hides its words and gives it a meaning of its own.
    """

    key: str
    text: str
    type: str
    df: int
    confounding: float | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One edge on the way back to the seed; `origin` is what a SIMILAR_TO edge was made from."""

    relation: str
    source: str
    target: str
    weight: float | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """How an entity is reached.

    Attributes:
        seed: the entity that the way ends in.
        strength: of the seed, times the weights of all edges; of several ways the strongest.
        steps: from the entity to the seed, empty for the seed itself.
    """

    seed: str
    strength: float
    steps: tuple[Step, ...] = ()

    def longer(self, step: Step) -> Way:
        """The way of an entity that is one edge further."""
        return Way(self.seed, self.strength * (1.0 if step.weight is None else step.weight), (step, *self.steps))


@dataclass(frozen=True)
class Neighbourhood:
    """Entities and the strongest way to each; the same keys in both."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    ways: Mapping[str, Way] = field(default_factory=dict)


def nodes(graph: Graph, keys: Iterable[str]) -> dict[str, Node]:
    """Those of the entities that exist, by key."""
    return _nodes(graph.read(cypher.NAMED, keys=sorted(set(keys))))


def around(
    graph: Graph, seeds: Mapping[str, float], *, hops: int, min_weight: float, most: int, below: bool = False
) -> Neighbourhood:
    """The seeds and the entities within `hops` edges, the strongest first, at most `most` of them.

    An entity that vanishes meanwhile is left out, with what would have been reached over it only.

    Args:
        graph: that is read, hop by hop.
        seeds: entity key → strength in 0 … 1.
        hops: most SIMILAR_TO edges of a way; 0 gives the seeds alone.
        min_weight: smallest weight of each edge.
        most: bounds the answer, and what each hop reads. Seeds count.
        below: also every category below one that is reached (those do not count).
    """
    known = nodes(graph, seeds)
    ways = {key: Way(key, seeds[key]) for key in known}
    ways = _strongest(ways, most)
    edge = sorted(ways)
    for _ in range(hops):
        if not edge:
            break
        before = ways
        rows = graph.read(cypher.AROUND, keys=edge, min_weight=min_weight, limit=ROWS * most)
        known |= _nodes(rows)
        ways = _strongest(_walked(before, rows), most)
        edge = sorted(key for key, way in ways.items() if way is not before.get(key))
    if below:
        ways = _with_below(graph, known, ways)
    return Neighbourhood({key: known[key] for key in ways}, ways)


def edges_between(graph: Graph, keys: Collection[str], *, min_weight: float, limit: int) -> list[dict[str, Any]]:
    """SIMILAR_TO edges with both ends among the keys, the heaviest first: source, target, weight, origin, generation.
    A pair has one for each source that says so."""
    return graph.read(cypher.BETWEEN, keys=sorted(keys), min_weight=min_weight, limit=limit)


def narrowed(selection: Selection, found: Neighbourhood) -> Selection:
    """The selection, and of it only products linked to one of these entities."""
    keys = sorted(found.ways)
    asked = {**selection.asked, "graph": keys}
    if selection.start != filtering.START_ALL:
        return replace(selection, asked=asked)
    return replace(selection, asked=asked, start=filtering.START_ENTITIES, start_values=tuple(keys))


def gains(found: Neighbourhood, *, products: int, budget: int) -> tuple[list[dict[str, Any]], list[str]]:
    """What a product gains by each entity it is linked to, strength times rarity, for `kg.graph.selection.linked`.

    Rarity is log((N + 1) / df) / log(N + 1) of N products: 1 for an entity of one product, near 0 for one of all.

    Args:
        found: entities in play.
        products: N, of the whole catalogue.
        budget: most links to products that may be read. Entities are taken while it lasts, those of most gain first;
            so one that is on nearly everything, and says nothing, costs nothing either.

    Returns:
        Rows of key, seed, gain; and the keys that the budget left out.
    """
    rows: list[dict[str, Any]] = []
    taken: list[dict[str, Any]] = []
    left: list[str] = []
    whole = max(products, 1) + 1
    for key, way in found.ways.items():
        df = found.nodes[key].df
        rarity = min(max(math.log(whole / max(df, 1)), 0.0) / math.log(whole), 1.0)
        rows.append({"key": key, "seed": way.seed, "gain": round(way.strength * rarity * GRAIN) / GRAIN})
    for row in sorted(rows, key=lambda row: (-row["gain"], row["key"])):
        if found.nodes[row["key"]].df <= budget and row["gain"] > 0:
            budget -= found.nodes[row["key"]].df
            taken.append(row)
        else:
            left.append(row["key"])
    return taken, left


def _nodes(rows: Iterable[Mapping[str, Any]]) -> dict[str, Node]:
    return {
        row["key"]: Node(
            key=row["key"],
            text=row["text"] or "",
            type=row["type"] or "",
            df=int(row["df"] or 0),
            confounding=row["confounding"],
            chosen=bool(row["chosen"]),
        )
        for row in rows
    }


def _walked(ways: Mapping[str, Way], rows: Iterable[Mapping[str, Any]]) -> dict[str, Way]:
    """The ways, longer by one edge where that leads to something new, or makes the way to it stronger."""
    found = dict(ways)
    for row in rows:
        weight = min(max(float(row["weight"]), 0.0), 1.0)
        step = Step("SIMILAR_TO", row["key"], row["source"], weight, row["origin"] or "")
        way = ways[row["source"]].longer(step)
        if row["key"] not in found or way.strength > found[row["key"]].strength:
            found[row["key"]] = way
    return found


def _strongest(ways: Mapping[str, Way], most: int) -> dict[str, Way]:
    return dict(sorted(ways.items(), key=lambda item: (-item[1].strength, len(item[1].steps), item[0]))[:most])


def _with_below(graph: Graph, known: dict[str, Node], ways: Mapping[str, Way]) -> dict[str, Way]:
    """The ways, and from each category to all below it; in a circle of categories each is taken once."""
    found = dict(ways)
    edge = sorted(key for key in found if key.startswith("category:"))
    while edge:
        new: dict[str, Way] = {}
        for row in graph.read(filtering.BELOW, keys=edge):
            if row["key"] not in found:
                known[row["key"]] = Node(row["key"], row["text"] or "", "category", int(row["df"] or 0))
                way = found[row["parent"]].longer(Step("CHILD_OF", row["key"], row["parent"]))
                if row["key"] not in new or way.strength > new[row["key"]].strength:
                    new[row["key"]] = way
        found |= new
        edge = sorted(new)
    return found
