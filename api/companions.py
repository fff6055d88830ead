"""What goes with products, by the graph alone. Plain Python over rows: the API and the benchmark share it.

Two products go together through an entity that both bear (a series, a collection, a colour), the rarer the more: it
counts idf² with idf = ln(1 + N / df). They also go together through two entities that listings name together more often
than chance has it (SIMILAR_TO by co-occurrence): that counts the edge's weight times both idf, `PAIRED` times. Sizes
and other entities with a number in them say nothing of what goes together, nor do those of more than `MOST` products.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["MOST", "PAIRED", "Companion", "Link", "Reach", "Related", "companions", "idf", "reached", "telling"]

MOST = 1000  # products of an entity above which it says nothing, and is not looked at
PAIRED = 0.3  # of a pair of entities beside one that is shared; chosen on rooms of validation
SPREAD = 30  # entities that one entity leads to, the strongest


@dataclass(frozen=True, slots=True)
class Link:
    """An entity that a product bears."""

    key: str
    type: str
    text: str
    relation: str
    df: int


@dataclass(frozen=True, slots=True)
class Related:
    """An entity that is named together with another one."""

    key: str
    type: str
    text: str
    df: int
    weight: float


@dataclass(frozen=True, slots=True)
class Way:
    """How an entity is reached from what was looked at: by product `source`, which bears `first`; with `weight` where
    a SIMILAR_TO edge leads on from there."""

    strength: float
    source: str
    first: Link
    weight: float | None


@dataclass(frozen=True)
class Reach:
    """An entity that what was looked at leads to, and the ways in which it does."""

    key: str
    text: str
    df: int
    ways: list[Way]

    @property
    def strength(self) -> float:
        return sum(way.strength for way in self.ways)


@dataclass
class Companion:
    """A product that goes with others: its score, and the strongest way to it (with the entity that it bears)."""

    id: str
    score: float = 0.0
    best: float = 0.0
    key: str = ""
    text: str = ""
    way: Way | None = None
    relation: str = "HAS_ENTITY"  # by which it bears that entity


def idf(df: int, total: int) -> float:
    return math.log(1 + total / max(df, 1))


def telling(entity: Link | Related) -> bool:
    """True for what may make products go together."""
    return entity.df <= MOST and not any(letter.isdigit() for letter in entity.text)


def reached(
    viewed: Mapping[str, float],
    links: Mapping[str, Sequence[Link]],
    related: Mapping[str, Sequence[Related]],
    total: int,
    *,
    paired: float = PAIRED,
) -> dict[str, Reach]:
    """Entity → how what was looked at reaches it.

    A category leads on to other entities but is not itself shared: what goes with a thing is of another kind.

    Args:
        viewed: product → weight.
        links: product → what it bears.
        related: entity → what it is named together with.
        total: products there are.
        paired: weight of a pair beside a shared entity.
    """
    found: dict[str, Reach] = {}
    for product, weight in viewed.items():
        own = [link for link in links.get(product, ()) if telling(link)]
        for link in own:
            if link.relation != "IN_CATEGORY" and link.df > 1:
                way = Way(weight * idf(link.df, total) ** 2, product, link, None)
                found.setdefault(link.key, Reach(link.key, link.text, link.df, [])).ways.append(way)
        bears = {link.key for link in own}
        for link in own if paired else ():
            others = [one for one in related.get(link.key, ()) if one.key not in bears and telling(one)]
            for one in sorted(others, key=lambda one: (-one.weight, one.key))[:SPREAD]:
                strength = weight * paired * one.weight * idf(link.df, total) * idf(one.df, total)
                way = Way(strength, product, link, one.weight)
                found.setdefault(one.key, Reach(one.key, one.text, one.df, [])).ways.append(way)
    return found


def companions(
    entities: Iterable[Reach], bearers: Mapping[str, Iterable[str]], exclude: Iterable[str] = ()
) -> list[Companion]:
    """Products that bear what was reached, best first, equal ones by id; without those of `exclude`.

    Args:
        entities: see `reached`.
        bearers: entity → products that bear it.
        exclude: products.
    """
    gone = set(exclude)
    found: dict[str, Companion] = {}
    for entity in entities:
        strength, best = entity.strength, max(entity.ways, key=lambda way: (way.strength, way.source))
        for id in set(bearers.get(entity.key, ())) - gone:
            one = found.setdefault(id, Companion(id))
            one.score += strength
            if (best.strength, entity.key) > (one.best, one.key):
                one.best, one.key, one.text, one.way = best.strength, entity.key, entity.text, best
    return sorted(found.values(), key=lambda one: (-one.score, one.id))
