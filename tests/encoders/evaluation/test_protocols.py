from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.evaluation import protocols


def world(size: int, seed: int, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    kind = draw.integers(kinds, size=size)
    return draw.standard_normal((size, size)), kind[:, None] == kind


@given(st.integers(1, 20), st.integers(0, 1000), st.integers(1, 20))
def test_full_is_any_right_item_among_the_first_k(size: int, seed: int, kinds: int) -> None:
    scores, relevant = world(size, seed, kinds)
    found = protocols.cross_modal(scores, relevant)
    for way, table in (("i2t", scores), ("t2i", scores.T)):
        for k in (1, 5, 10):
            hits = [
                any(relevant[q, c] for c in sorted(range(size), key=lambda c: -table[q, c])[:k]) for q in range(size)
            ]
            assert found[f"{way}/R@{k}"] == pytest.approx(100 * sum(hits) / size)


def test_the_two_ways_differ() -> None:
    scores = np.array(
        [[2.0, 1.0], [3.0, 0.0]]
    )  # both pictures take the first text; each text takes its own column's best
    found = protocols.cross_modal(scores, np.eye(2, dtype=bool))
    assert (found["i2t/R@1"], found["t2i/R@1"]) == (50.0, 0.0)


def test_sampled_is_easier_than_full_and_repeats_by_its_seed() -> None:
    scores, relevant = world(400, 3, 400)
    scores += 2 * relevant
    groups = [("shoes", "wear")] * 400
    full, one = protocols.cross_modal(scores, relevant), protocols.sampled(scores, relevant, groups, seed=1)
    assert one["sample100/i2t/R@1"] > full["i2t/R@1"]
    assert one == protocols.sampled(scores, relevant, groups, seed=1)
    assert one != protocols.sampled(scores, relevant, groups, seed=2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_negatives_are_the_nearest_of_kind(seed: int) -> None:
    """All scores tell only the level of kinship with the query's group, so the rank counts who was drawn."""
    draw = np.random.default_rng(seed)
    fine = draw.integers(4, size=60)
    groups = [(f"fine{f}", f"wide{f // 2}") for f in fine]
    identity = np.arange(60) // 2  # two of each: the other one is no negative
    relevant = identity[:, None] == identity
    for wanted, beats in ((fine[:, None] == fine, "fine"), ((fine // 2)[:, None] == fine // 2, "wide")):
        scores = np.where(relevant, 1.0, np.where(wanted, 2.0, 0.0))  # only kin beats the positive
        found = protocols.sampled(scores, relevant, groups, seed=seed, negatives=10)
        least = min((wanted & ~relevant).sum(axis=1))
        if least >= 10:
            assert found["sample100/i2t/R@10"] == 0, beats  # all ten negatives are kin
        alone = (wanted & ~relevant).sum(axis=1) == 0
        assert found["sample100/i2t/R@1"] == pytest.approx(100 * alone.mean()), beats


def test_sampled_takes_all_there_are_where_they_are_few() -> None:
    scores, relevant = world(5, 0, 5)
    assert protocols.sampled(scores, relevant, [("a",)] * 5, seed=0)["sample100/i2t/R@5"] == 100.0


def test_same_product_in_both_definitions() -> None:
    scores = np.array([np.arange(20.0)[::-1]])
    relevant = np.zeros((1, 20), bool)
    relevant[0, :15] = True  # fifteen right ones, all on top: ten places hold ten
    found = protocols.same_product(scores, relevant)
    assert found["R@1"] == 100.0
    assert found["mAP@10"] == pytest.approx(100 * 10 / 15)
    assert found["nmAP@10"] == pytest.approx(100)
