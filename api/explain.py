"""Why a hit is here: the way through the graph that admitted it, and what each list said of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from api.models import PathStep
from kg.graph.selection import Reach, Selection
from kg.records import normalise

__all__ = ["explained", "query_words"]

Link = Mapping[str, Any]  # relation, weight, key, text, path: as kg.graph.cypher.hits.CARDS returns them

SAYS = {
    "picture-image": "looks alike {score:.2f}",
    "picture-text": "its text fits the picture {score:.2f}",
    "picture-fused": "fits the picture {score:.2f}",
    "text-image": "its picture fits the words {score:.2f}",
    "text-text": "its text fits the words {score:.2f}",
    "text-fused": "fits the words {score:.2f}",
    "pair-fused": "fits picture and words {score:.2f}",
    "like-image": "looks like {like} {score:.2f}",
    "like-text": "reads like {like} {score:.2f}",
    "like-fused": "is like {like} {score:.2f}",
}


def query_words(text: str) -> list[str]:
    """The words of a text, normalised, each once: what the full-text index is asked for."""
    return list(dict.fromkeys(re.findall(r"\w+", normalise(text))))


def explained(
    card: Mapping[str, Any], scores: Mapping[str, float], selection: Selection, *, text: str, like: str | None
) -> tuple[str, tuple[PathStep, ...]]:
    """Reason in words, and the graph path from the product outwards.

    Args:
        card: one row of CARDS.
        scores: of the hit, by list.
        selection: what the filters mean in the graph.
        text: what was asked.
        like: the example product.
    """
    links = [link for link in card["links"] if link["key"]]
    reasons: list[str] = []
    steps: list[PathStep] = []
    for name, words in (("brands", "brand"), ("categories", "category"), ("entities", "entity"), ("near", "entity")):
        if name in selection.asked:
            said, way = _linked(card["id"], name, _relations(links, name), selection)
            reasons.append(f"{words} {said}")
            steps += way
    reasons += _fields(card, selection)
    reasons += [SAYS[name].format(score=score, like=like) for name, score in scores.items() if name in SAYS]
    if "lexical" in scores:
        there = set(query_words(f"{card['title'] or ''} {card['description'] or ''}"))
        shared = [word for word in query_words(text) if word in there]
        reasons.append(f"has the words {', '.join(shared)}" if shared else "has words like these")
    return "; ".join(reasons), tuple(dict.fromkeys(steps))


def _relations(links: Iterable[Link], name: str) -> list[Link]:
    wanted = {"brands": ("MADE_BY",), "categories": ("IN_CATEGORY",)}.get(name)
    return [link for link in links if wanted is None or link["relation"] in wanted]


def _linked(product: str, name: str, links: Sequence[Link], selection: Selection) -> tuple[str, list[PathStep]]:
    """The strongest link of the product to one of the keys that the condition asks for."""
    asked = set(selection.asked[name])
    seeds: Mapping[str, Reach] = selection.reach if name == "near" else {}
    ways = [
        (seeds[keys[-1]].strength if seeds else 1.0, len(keys), keys, link)
        for link in links
        if link["key"] in asked
        for keys in [_upwards(link["key"], asked, selection, seeds)]
    ]
    if not ways:  # the graph has changed since the ids were read
        return "as asked", []
    _, _, keys, link = min(ways, key=lambda way: (-way[0], way[1], way[2]))
    steps = [PathStep(source=product, relation=link["relation"], target=keys[0], weight=link["weight"])]
    steps += [PathStep(source=a, relation="CHILD_OF", target=b) for a, b in pairwise(keys)]
    said = selection.texts[keys[0]] if name in ("brands", "categories") else f"'{selection.texts[keys[0]]}'"
    if len(keys) > 1:
        said += f" (below {selection.texts[keys[-1]]})"
    if name == "near":
        key, reach = keys[-1], selection.reach[keys[-1]]
        while reach.via is not None:
            steps.append(PathStep(source=key, relation="SIMILAR_TO", target=reach.via, weight=reach.weight))
            said = f"'{selection.texts[reach.via]}' —{reach.weight:.2f}→ {said}"
            key, reach = reach.via, selection.reach[reach.via]
    return said, steps


def _upwards(key: str, asked: Collection[str], selection: Selection, seeds: Collection[str]) -> list[str]:
    """The key, and for a category all above it up to the one that was asked for."""
    keys = [key]
    while keys[-1] not in seeds and selection.above.get(keys[-1]) in asked:
        keys.append(selection.above[keys[-1]])
    return keys


def _fields(card: Mapping[str, Any], selection: Selection) -> list[str]:
    """What of the listing's own fields was asked for."""
    said = []
    if {"min_price", "max_price"} & set(selection.asked):
        said.append(f"price {card['price']:.2f} {card['currency'] or ''}".rstrip())
    if "sellers" in selection.asked:
        said.append(f"seller {card['seller']}")
    if "updated_since" in selection.asked:
        said.append(f"updated {card['updated_at'][:10]}")
    if "pattern" in selection.asked:
        said.append("in the Cypher pattern")
    return said
