"""From which score on two listings count as the same product, to a stated precision. Numpy alone: benchmarks use it.

Pairs of one product resemble each other, so the number of products bounds the precision, not that of pairs: the lower
bound is Wilson's (1927), one-sided at 95 %, of the share of right pairs in as many cases as there are identities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kg.errors import BadInput

__all__ = ["Pairs", "Threshold", "choose", "needed", "wilson"]

Z = 1.6448536269514722  # of the normal distribution at 95 %, one-sided


@dataclass(frozen=True)
class Pairs:
    """Scored pairs whose truth is known.

    Attributes:
        scores: (N,) higher is nearer.
        right: (N,) true where both are the same product.
        groups: (N,) number of the product that was asked for.
        there: right pairs that exist, also those that no search came upon.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    groups: NDArray[np.int64]
    there: int

    def at(self, score: float) -> tuple[float, float, int]:
        """Precision and recall of what reaches the score, and how many pairs do; precision 1 of none."""
        taken = self.scores >= score
        found, count = int(self.right[taken].sum()), int(taken.sum())
        return (found / count if count else 1.0), (found / self.there if self.there else 0.0), count


@dataclass(frozen=True)
class Threshold:
    """The smallest score that reaches a goal.

    Attributes:
        score: two listings that reach it are taken for the same product.
        precision: share of right pairs among those that reach it.
        bound: what the precision is at least, at 95 %.
        recall: share of the right pairs that reach it.
        pairs: that reach it.
        right: of them, the right ones.
        identities: products among them.
    """

    score: float
    precision: float
    bound: float
    recall: float
    pairs: int
    right: int
    identities: int


def wilson(share: ArrayLike, count: ArrayLike) -> NDArray[np.float64]:
    """Lower bound of a share that was seen in `count` independent cases, one-sided at 95 %."""
    p, n = np.asarray(share, np.float64), np.maximum(np.asarray(count, np.float64), 1)
    bound: NDArray[np.float64] = (p + Z**2 / (2 * n) - Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))) / (
        1 + Z**2 / n
    )
    return np.maximum(bound, 0)


def needed(goal: float) -> int:
    """Identities without which no bound reaches the goal, be every pair right."""
    return math.ceil(round(goal * Z**2 / (1 - goal), 9))


def choose(pairs: Pairs, goal: float) -> Threshold:
    """The smallest score at which the lower bound of the precision reaches the goal.

    Raises:
        BadInput: too few identities for any score to reach it, or none does.
    """
    if not 0.5 <= goal < 1:
        raise BadInput(f"precision = {goal:g}: it is at least 0.5 and less than 1", field="precision")
    known = len(np.unique(pairs.groups[pairs.right]))
    if known < needed(goal):
        raise BadInput(
            f"precision {goal:g}: right pairs of {known} products of validation were found, and {needed(goal)} "
            "products are needed even if every pair is right",
            hint="a lower precision needs fewer; more products with several listings that state an `identity`, more",
        )
    order = np.argsort(-pairs.scores, kind="stable")
    scores, right, groups = pairs.scores[order], pairs.right[order], pairs.groups[order]
    first = np.zeros(len(groups), np.int64)
    first[np.unique(groups, return_index=True)[1]] = 1
    counts, found, seen = np.arange(1, len(scores) + 1), np.cumsum(right), np.cumsum(first)
    bounds = wilson(found / counts, seen)
    last = np.append(scores[1:] < scores[:-1], True)  # equal scores come together or not at all
    reached = np.flatnonzero(last & (bounds >= goal))
    if not len(reached):
        best = int(np.argmax(np.where(last, bounds, -1)))
        raise BadInput(
            f"precision {goal:g}: no score reaches it; the best is {bounds[best]:.3f} at 95 %, from score "
            f"{scores[best]:.4f} on ({found[best]} of {counts[best]} pairs right)",
            hint="ask for less, or embed with an encoder that tells these products apart",
        )
    at = int(reached[-1])
    return Threshold(
        score=float(scores[at]),
        precision=float(found[at] / counts[at]),
        bound=float(bounds[at]),
        recall=float(found[at] / pairs.there),
        pairs=int(counts[at]),
        right=int(found[at]),
        identities=int(seen[at]),
    )
