"""Why a hit is here: the way through the graph that admitted it, and what each list said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api import admitted
from api.admitted import Link
from api.around import LIST, Around
from api.models import FoundEntity, PathStep
from api.words import query_words, telling_words
from kg.graph.neighbourhood import Step
from kg.graph.selection import Selection

__all__ = ["explained"]

WAYS = 3  # of a hit that are told

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


def explained(
    card: Mapping[str, Any],
    scores: Mapping[str, float],
    selection: Selection,
    *,
    text: str,
    like: str | None,
    seen: Around | None = None,
) -> tuple[str, tuple[PathStep, ...]]:
    """Reason in words, and the graph path from the product outwards.

    Args:
        card: one row of LISTINGS.
        scores: of the hit, by list.
        selection: what the filters mean in the graph.
        text: what was asked.
        like: the example product.
        seen: entities that the text means, and those around them, where the graph narrows or widens the search.
    """
    links = card["links"]
    reasons, steps = admitted.links(card, links, selection)
    if seen and (LIST in scores or LIST in selection.asked):
        ways = _ways(card["id"], links, seen)
        reasons += [f"graph: {', '.join(said for said, _ in ways)}"] if ways else []
        steps += [step for _, way in ways for step in way]
    reasons += admitted.fields(card, links, selection)
    reasons += [SAYS[name].format(score=score, like=like) for name, score in scores.items() if name in SAYS]
    if "lexical" in scores:
        there = set(query_words(f"{card['title'] or ''} {card['description'] or ''}"))
        shared = [word for word in telling_words(text) if word in there]
        reasons.append(f"has the words {', '.join(shared)}" if shared else "has words like these")
    return "; ".join(reasons), tuple(dict.fromkeys(steps))


def _ways(product: str, links: Iterable[Link], seen: Around) -> list[tuple[str, list[PathStep]]]:
    """From the product over its entities to the words of the text, the strongest way to each entity that these mean."""
    best: dict[str, Link] = {}
    there = seen.there.ways
    for link in links:
        if way := there.get(link["key"]):
            old = best.get(way.seed)
            if old is None or (-way.strength, link["key"]) < (-there[old["key"]].strength, old["key"]):
                best[way.seed] = link
    ways = []
    for link in sorted(best.values(), key=lambda link: (-there[link["key"]].strength, link["key"]))[:WAYS]:
        way = there[link["key"]]
        asked = seen.found[way.seed]
        steps = [PathStep(source=product, relation=link["relation"], target=link["key"], weight=link["weight"])]
        steps += [
            PathStep(
                source=step.source, relation=step.relation, target=step.target, weight=step.weight, origin=step.origin
            )
            for step in way.steps
        ]
        steps.append(
            PathStep(source=way.seed, relation="ASKED", target=asked.words, weight=asked.score, origin=asked.how)
        )
        ways.append((_way_said(asked, way.steps, seen), steps))
    return ways


def _way_said(asked: FoundEntity, steps: Sequence[Step], seen: Around) -> str:
    """The same from the words on."""
    said = f"'{asked.text}'"
    if asked.how != "mention":
        said = f'"{asked.words}" —{asked.score:.2f} {asked.how}→ {said}'
    for step in reversed(steps):
        arrow = "→" if step.weight is None else f"—{step.weight:.2f} {step.origin}→".replace(" →", "→")
        said += f" {arrow} '{seen.there.nodes[step.source].text}'"
    return said
