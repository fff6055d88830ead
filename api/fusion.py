"""Several ranked lists of products become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Fused", "Ranked", "fuse", "ordered"]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One product of one list; `instance_id` is what matched, empty where no instance did (lexical)."""

    product_id: str
    instance_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Fused:
    """One product of the fused list, with its score and its rank (from 1) in each list that holds it."""

    product_id: str
    score: float
    scores: dict[str, float]
    ranks: dict[str, int]


def ordered(items: Sequence[Ranked]) -> list[Ranked]:
    """Best first; equal scores by product id, so that every plan gives the same order."""
    return sorted(items, key=lambda item: (-item.score, item.product_id))


def fuse(
    lists: Mapping[str, Sequence[Ranked]],
    *,
    method: Literal["rrf", "weighted"] = "rrf",
    weights: Mapping[str, float] | None = None,
    constant: int = 60,
) -> list[Fused]:
    """One list out of several, each best first and without repeated products.

    - `rrf`: sum over lists of w / (constant + rank) (Cormack, Clarke and Büttcher, SIGIR 2009);
    - `weighted`: sum over lists of w · s, the scores of each list scaled to 0..1 (a list of equal scores to 1).

    A product that a list lacks gets nothing from it. A list of weight 0 admits no product. Ties go by product id.
    """
    weights = weights or {}
    found: dict[str, Fused] = {}
    for name, items in lists.items():
        weight = weights.get(name, 1.0)
        if not items or weight == 0:
            continue
        low, high = min(item.score for item in items), max(item.score for item in items)
        for rank, item in enumerate(items, 1):
            if method == "rrf":
                share = 1 / (constant + rank)
            else:
                share = (item.score - low) / (high - low) if high > low else 1.0
            old = found.get(item.product_id)
            found[item.product_id] = Fused(
                item.product_id,
                (old.score if old else 0.0) + weight * share,
                {**(old.scores if old else {}), name: item.score},
                {**(old.ranks if old else {}), name: rank},
            )
    return sorted(found.values(), key=lambda item: (-item.score, item.product_id))
