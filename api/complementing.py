"""Complementary products, read from the graph: of other categories, by what they share or are named together with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from api.companions import MOST, Companion, Link, Related, companions, reached, telling
from api.models import PathStep
from kg.graph import selection as graph_side
from kg.graph.cypher.recommendations import BEARERS, COMPANIONS, LEAVES, LINKS, SIZE
from kg.graph.driver import Graph
from kg.graph.selection import Selection

__all__ = ["complementary", "path_of", "reason_of"]

READ = 50_000  # links of products to entities that are read at most, those of the strongest entities
CHUNK = 500  # candidates checked at a time


def complementary(
    graph: Graph, weights: Mapping[str, float], selection: Selection, exclude: Collection[str], wanted: int
) -> list[Companion]:
    """The `wanted` products that go best with the weighted ones: inside the selection, and in a category in which none
    of these is. What stands in no category is left out.

    Args:
        graph: that is read.
        weights: product → how much it counts.
        selection: what admits.
        exclude: products that are never given.
        wanted: products.
    """
    links: dict[str, list[Link]] = {}
    for row in graph.read(LINKS, ids=sorted(weights)):
        links.setdefault(row["id"], []).append(_link(row))
    total = int(graph.read(SIZE)[0]["n"])
    keys = sorted({link.key for own in links.values() for link in own if telling(link)})
    related: dict[str, list[Related]] = {}
    for row in graph.read(COMPANIONS, keys=keys, most=MOST):
        other = Related(row["other"], row["type"] or "", row["text"] or "", row["df"] or 0, min(row["weight"], 1.0))
        related.setdefault(row["key"], []).append(other)
    chosen, room = [], READ
    for entity in sorted(reached(weights, links, related, total).values(), key=lambda one: (-one.strength, one.key)):
        if entity.df > room:
            break
        room -= entity.df
        chosen.append(entity)
    bearers: dict[str, dict[str, str]] = {}
    for row in graph.read(BEARERS, keys=[entity.key for entity in chosen]):
        bearers.setdefault(row["key"], {})[row["id"]] = row["relation"]
    ranked = companions(chosen, bearers, exclude)
    own = {link.key for links_ in links.values() for link in links_ if link.relation == "IN_CATEGORY"}
    found: list[Companion] = []
    for start in range(0, len(ranked), CHUNK):
        some = ranked[start : start + CHUNK]
        ids = [one.id for one in some]
        admitted = set(ids) if selection.everything else graph_side.members(graph, selection, ids)
        leaves = {row["id"]: row["key"] for row in graph.read(LEAVES, ids=[id for id in ids if id in admitted])}
        for one in some:
            if one.id in leaves and leaves[one.id] not in own:
                one.relation = bearers[one.key][one.id]
                found.append(one)
        if len(found) >= wanted:
            break
    return found[:wanted]


def reason_of(one: Companion) -> str:
    """In words."""
    assert one.way is not None
    first = one.way.first
    if one.way.weight is None:
        return f"shares {first.type} '{first.text}' with {one.way.source}"
    return f"has '{one.text}', which is named together with '{first.text}' of {one.way.source} ({one.way.weight:.2f})"


def path_of(one: Companion) -> tuple[PathStep, ...]:
    """The edges of the strongest way."""
    assert one.way is not None
    first = one.way.first
    steps = [PathStep(source=one.way.source, relation=first.relation, target=first.key)]
    if one.way.weight is not None:
        steps.append(PathStep(source=first.key, relation="SIMILAR_TO", target=one.key, weight=one.way.weight))
    return (*steps, PathStep(source=one.id, relation=one.relation, target=one.key))


def _link(row: Mapping[str, Any]) -> Link:
    return Link(row["key"], row["type"] or "", row["text"] or "", row["relation"], row["df"] or 0)
