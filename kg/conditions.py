"""What is asked of one product: leaves joined by *all*, *any* and *not*.

A product either passes a leaf or does not: one that lacks what is asked for (a listing without price, and `max_price`)
does not pass, and so passes its `Not`. What a leaf means in the graph stands in kg/graph/cypher/filters.py, what it
means beside the vectors in kg/vectors/filtering.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EVERYTHING", "NOTHING", "All", "AnyOf", "Condition", "Leaf", "Not", "Reach", "folded", "holds", "leaves"]


@dataclass(frozen=True)
class Reach:
    """How an entity is reached from the entities of `near`.

    Attributes:
        via: the entity one step nearer to the seed, None for a seed.
        weight: of the SIMILAR_TO edge to it (1 for a seed).
        strength: product of the weights all the way to the seed; of several ways the strongest of the shortest.
    """

    via: str | None
    weight: float
    strength: float


@dataclass(frozen=True)
class Leaf:
    """One thing asked.

    Attributes:
        name: of the condition, a key of `kg.graph.cypher.filters.CONDITIONS`.
        value: its parameter: sorted keys, sellers or product ids (a product passes by any of them; by none of none), a
            price, or a moment in ISO format.
        place: the field of the filters that asks it, such as `any.1.brand`.
        reach: how each entity of `near` is reached.
    """

    name: str
    value: Any
    place: str = field(default="", compare=False)
    reach: Mapping[str, Reach] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class All:
    """What passes every part; without parts, everything."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class AnyOf:
    """What passes at least one part; without parts, nothing."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Not:
    """Every product of the catalogue that does not pass the part."""

    part: Condition


Condition = Leaf | All | AnyOf | Not

EVERYTHING = All()
NOTHING = AnyOf()


def folded(condition: Condition) -> Condition:
    """The same condition, with `EVERYTHING` and `NOTHING` only where they are all that is left, and without joins of
    one part. A leaf of no values is `NOTHING`."""
    match condition:
        case Leaf(value=[]):  # or any other empty sequence
            return NOTHING
        case Leaf():
            return condition
        case Not(part=inner):
            part = folded(inner)
            if part in (EVERYTHING, NOTHING):
                return NOTHING if part == EVERYTHING else EVERYTHING
            return part.part if isinstance(part, Not) else Not(part)
    join, neutral, absorbing = (
        (All, EVERYTHING, NOTHING) if isinstance(condition, All) else (AnyOf, NOTHING, EVERYTHING)
    )
    parts: list[Condition] = []
    for part in map(folded, condition.parts):
        if part == absorbing:
            return absorbing
        if isinstance(part, join):
            parts += part.parts  # EVERYTHING within All, NOTHING within AnyOf: no parts
        elif part != neutral:
            parts.append(part)
    return parts[0] if len(parts) == 1 else join(tuple(parts))


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Every leaf, from left to right."""
    match condition:
        case Leaf():
            yield condition
        case Not(part=part):
            yield from leaves(part)
        case All(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from leaves(part)


def holds(condition: Condition, passes: Callable[[Leaf], bool]) -> bool:
    """Whether something passes the condition that passes these leaves."""
    match condition:
        case Leaf():
            return passes(condition)
        case Not(part=part):
            return not holds(part, passes)
        case All(parts=parts):
            return all(holds(part, passes) for part in parts)
        case AnyOf(parts=parts):
            return any(holds(part, passes) for part in parts)
