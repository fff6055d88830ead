"""What an encoder's answer depends on beside its weights, and the choice between such ways on validation.

A photo may be answered as a whole or product by product, against pictures, texts or both. Every way is measured; which
one stands for the encoder is what did best on validation, over all seeds alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

__all__ = ["WHOLE", "Found", "Measured", "Way", "choose"]

WHOLE = "whole"


class Way(NamedTuple):
    """One way to answer.

    Attributes:
        question: what is asked, and where: "room", "room+type", "photos".
        method: "whole", or how the lists of the regions merge (`api.merging`).
        limit: most regions of a photo; 0 for the whole.
        gallery: vectors of the gallery: "item", "picture" or "text".
        weight: of the text beside the picture, where the question has one.
    """

    question: str
    method: str = WHOLE
    limit: int = 0
    gallery: str = "item"
    weight: float = 0.0


@dataclass(frozen=True)
class Found:
    """Figures of one way, metric → per cent; `val` is empty where there is nothing to choose on."""

    test: Mapping[str, float]
    val: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """All that was measured of one trained encoder; without a validation the first way of a question stands for it."""

    ways: Mapping[Way, Found]


def choose(runs: Sequence[Measured], criterion: str) -> tuple[list[dict[str, float]], dict[str, Way]]:
    """Figures of each run, and which way each of them was made by.

    `room/R@10` is of the best way; `room/whole/R@10`, `room/max_score/R@10`, `room/regions/R@10` of the best among
    those of that method, or of any method on regions; `room/by_text/R@10` among those with that gallery. Where a
    question has one way only, there is nothing to tell apart and `room/R@10` stands alone.

    Args:
        runs: one for each seed, with the same ways.
        criterion: metric on validation, whose mean over the runs decides; of equals the first.
    """
    aspects = _aspects(list(runs[0].ways))
    chosen = {name: max(ways, key=lambda way: _mean(runs, way, criterion)) for name, ways in aspects.items()}
    figures = [
        {f"{name}/{metric}" if name else metric: value for name, way in chosen.items()
         for metric, value in run.ways[way].test.items()}
        for run in runs
    ]  # fmt: skip
    return figures, chosen


def _aspects(ways: Sequence[Way]) -> dict[str, list[Way]]:
    """Prefix of the metrics → the ways that it chooses from."""
    found: dict[str, list[Way]] = {}
    for question in dict.fromkeys(way.question for way in ways):
        own = [way for way in ways if way.question == question]
        found[question] = own
        if len(own) > 1:
            methods = dict.fromkeys(way.method for way in own)
            found |= {f"{question}/{method}": [w for w in own if w.method == method] for method in methods}
        if regions := [way for way in own if way.method != WHOLE]:
            found[f"{question}/regions"] = regions
        galleries = list(dict.fromkeys(way.gallery for way in own))
        if len(galleries) > 1:
            found |= {f"{question}/by_{gallery}": [w for w in own if w.gallery == gallery] for gallery in galleries}
    return found


def _mean(runs: Sequence[Measured], way: Way, criterion: str) -> float:
    return float(np.mean([run.ways[way].val.get(criterion, 0.0) for run in runs]))
