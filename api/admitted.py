"""What of the filters admitted a hit: in words, and as the way through the graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from api.models import PathStep
from kg.conditions import All, Condition, Leaf, Not, Reach, holds
from kg.graph.selection import Selection

__all__ = ["Link", "fields", "links"]

Link = Mapping[str, Any]  # relation, weight, key, text, path: as kg.graph.cypher.hits.LISTINGS returns them
WORDS = {"brands": "brand", "categories": "category", "entities": "entity", "near": "entity"}
RELATIONS = {"brands": ("MADE_BY",), "categories": ("IN_CATEGORY",)}
NAMES = 3  # of what a hit is not, that are told


def links(card: Mapping[str, Any], own: Sequence[Link], selection: Selection) -> tuple[list[str], list[PathStep]]:
    """Reasons and path of what the filters ask of the product's entities.

    Args:
        card: one row of LISTINGS.
        own: its links.
        selection: what the filters mean in the graph; where any of several conditions would do, those count that the
            product passes.
    """
    reasons: list[str] = []
    steps: list[PathStep] = []
    told = _told(card, own, selection)
    for name, word in WORDS.items():
        for leaf, held in told:
            if leaf.name == name and held:
                said, way = _linked(card["id"], leaf, own, selection)
                reasons.append(f"{word} {said}")
                steps += way
            elif leaf.name == name:
                reasons.append(f"not {word} {_names(leaf, selection)}")
    return list(dict.fromkeys(reasons)), steps


def fields(card: Mapping[str, Any], own: Sequence[Link], selection: Selection) -> list[str]:
    """Reasons of what the filters ask of the listing's own fields."""
    told = {(leaf.name, held) for leaf, held in _told(card, own, selection)}
    asked = {name for name, _ in told}
    said = []
    if {"min_price", "max_price"} & asked:
        said.append(
            "no price" if card["price"] is None else f"price {card['price']:.2f} {card['currency'] or ''}".rstrip()
        )
    if "sellers" in asked:
        said.append(f"seller {card['seller']}" if card["seller"] else "no seller")
    if "updated_since" in asked:
        said.append(f"updated {card['updated_at'][:10]}" if card["updated_at"] else "no date")
    if ("pattern", True) in told:
        said.append("in the Cypher pattern")
    if ("pattern", False) in told:
        said.append("not in the Cypher pattern")
    return said


def _told(card: Mapping[str, Any], own: Sequence[Link], selection: Selection) -> list[tuple[Leaf, bool]]:
    """The leaves to which the product owes that it is admitted, and whether it passes each."""
    return list(_deciding(selection.tree, True, lambda leaf: _passes(card, own, leaf)))


def _deciding(condition: Condition, held: bool, passes: Callable[[Leaf], bool]) -> Iterator[tuple[Leaf, bool]]:
    if isinstance(condition, Leaf):
        yield condition, held
    elif isinstance(condition, Not):
        yield from _deciding(condition.part, not held, passes)
    else:
        every = isinstance(condition, All) == held  # else a part that decides it will do
        for part in condition.parts:
            if every or holds(part, passes) == held:
                yield from _deciding(part, held, passes)


def _passes(card: Mapping[str, Any], own: Iterable[Link], leaf: Leaf) -> bool:
    """As kg.graph.cypher.filters.CONDITIONS have it."""
    price, updated = card["price"], card["updated_at"]
    match leaf.name:
        case "min_price":
            return price is not None and bool(price >= leaf.value)
        case "max_price":
            return price is not None and bool(price <= leaf.value)
        case "sellers":
            return card["seller"] in leaf.value
        case "updated_since":  # both in UTC
            return bool(updated) and updated[:19] >= leaf.value[:19]
        case "pattern":
            return card["id"] in leaf.value
    wanted = set(leaf.value)
    return any(link["key"] in wanted for link in _relations(own, leaf.name))


def _relations(own: Iterable[Link], name: str) -> list[Link]:
    wanted = RELATIONS.get(name)
    return [link for link in own if wanted is None or link["relation"] in wanted]


def _linked(product: str, leaf: Leaf, own: Sequence[Link], selection: Selection) -> tuple[str, list[PathStep]]:
    """The strongest link of the product to one of the keys that the condition asks for."""
    asked = set(leaf.value)
    seeds: Mapping[str, Reach] = leaf.reach
    ways = [
        (seeds[keys[-1]].strength if seeds else 1.0, len(keys), keys, link)
        for link in _relations(own, leaf.name)
        if link["key"] in asked
        for keys in [_upwards(link["key"], asked, selection, seeds)]
    ]
    if not ways:  # the graph has changed since the ids were read
        return "as asked", []
    _, _, keys, link = min(ways, key=lambda way: (-way[0], way[1], way[2]))
    steps = [PathStep(source=product, relation=link["relation"], target=keys[0], weight=link["weight"])]
    steps += [PathStep(source=a, relation="CHILD_OF", target=b) for a, b in pairwise(keys)]
    said = selection.texts[keys[0]] if leaf.name in RELATIONS else f"'{selection.texts[keys[0]]}'"
    if len(keys) > 1:
        said += f" (below {selection.texts[keys[-1]]})"
    if seeds:
        key, reach = keys[-1], seeds[keys[-1]]
        while reach.via is not None:
            steps.append(PathStep(source=key, relation="SIMILAR_TO", target=reach.via, weight=reach.weight))
            said = f"'{selection.texts[reach.via]}' —{reach.weight:.2f}→ {said}"
            key, reach = reach.via, seeds[reach.via]
    return said, steps


def _upwards(key: str, asked: Collection[str], selection: Selection, seeds: Collection[str]) -> list[str]:
    """The key, and for a category all above it up to the one that was asked for."""
    keys = [key]
    while keys[-1] not in seeds and selection.above.get(keys[-1]) in asked:
        keys.append(selection.above[keys[-1]])
    return keys


def _names(leaf: Leaf, selection: Selection) -> str:
    """Of what was asked, without what lies below it or around it."""
    asked = set(leaf.value)
    keys = [key for key, reach in leaf.reach.items() if reach.via is None] if leaf.reach else leaf.value
    names = [selection.texts[key] for key in keys if selection.above.get(key) not in asked]
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")
