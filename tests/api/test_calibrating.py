"""The smallest score that reaches a stated precision, against plain counting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from api.calibrating import Pairs, choose, needed, wilson
from kg.errors import BadInput


def pairs(scores: list[float], right: list[bool], groups: list[int] | None = None, there: int | None = None) -> Pairs:
    numbers = range(len(scores)) if groups is None else groups
    return Pairs(
        np.array(scores), np.array(right, bool), np.array(list(numbers), int), sum(right) if there is None else there
    )


def naive(table: Pairs, goal: float) -> float | None:
    """Every score in turn, the smallest that does."""
    best = None
    for score in sorted(set(table.scores.tolist()), reverse=True):
        taken = table.scores >= score
        share, cases = table.right[taken].mean(), len(set(table.groups[taken].tolist()))
        z = 1.6448536269514722
        root = math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
        if (share + z * z / (2 * cases) - z * root) / (1 + z * z / cases) >= goal:
            best = score
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("goal", [0.6, 0.8, 0.9])
def test_the_smallest_score_is_found(seed: int, goal: float) -> None:
    draw = np.random.default_rng(seed)
    scores = np.round(draw.random(600), 2)  # with ties
    table = Pairs(scores, draw.random(600) < scores**0.3, draw.integers(0, 300, 600), 700)
    expected = naive(table, goal)
    if expected is None:
        with pytest.raises(BadInput, match="no score reaches it"):
            choose(table, goal)
        return
    found = choose(table, goal)
    taken = table.scores >= expected
    assert found.score == expected
    assert found.bound >= goal
    assert (found.pairs, found.right) == (taken.sum(), table.right[taken].sum())
    assert found.precision == pytest.approx(table.right[taken].mean())
    assert found.recall == pytest.approx(table.right[taken].sum() / 700)
    assert table.at(expected) == pytest.approx((found.precision, found.recall, found.pairs))


def test_pairs_of_one_product_are_one_case() -> None:
    many = pairs([0.9] * 500, [True] * 500, [0] * 500)
    with pytest.raises(BadInput, match="right pairs of 1 products of validation were found, and 52 products"):
        choose(many, 0.95)
    assert choose(pairs([0.9] * 52, [True] * 52), 0.95).identities == 52


def test_how_many_are_needed() -> None:
    for goal in (0.5, 0.8, 0.9, 0.95, 0.99):
        count = needed(goal)
        assert wilson(1.0, count) >= goal - 1e-9
        assert wilson(1.0, count - 1) < goal


def test_no_score_reaches_it() -> None:
    with pytest.raises(BadInput, match=r"no score reaches it; the best is 0\.\d{3} at 95 %, from score 0\.5000 on"):
        choose(pairs([0.5] * 200, [True, False] * 100), 0.9)


@pytest.mark.parametrize("goal", [0.0, 0.49, 1.0, 1.5, float("nan")])
def test_a_goal_out_of_range_is_refused(goal: float) -> None:
    with pytest.raises(BadInput, match=r"precision = .*: it is at least 0\.5 and less than 1"):
        choose(pairs([0.9], [True]), goal)


def test_nothing_at_all() -> None:
    with pytest.raises(BadInput, match="right pairs of 0 products"):
        choose(pairs([], []), 0.9)
    assert pairs([], []).at(0.5) == (1.0, 0.0, 0)
