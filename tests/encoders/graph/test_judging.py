from __future__ import annotations

import numpy as np
import pytest

from encoders.graph.judging import LEAST, found_alone, hold_out, judge, random_vectors, smoothed


def test_parts_are_disjoint_and_whole() -> None:
    learn, choose, report = hold_out(200, 0.1, np.random.default_rng(0))
    assert (len(learn), len(choose), len(report)) == (180, 10, 10)
    assert sorted([*learn, *choose, *report]) == list(range(200))
    learn, choose, report = hold_out(LEAST - 1, 0.5, np.random.default_rng(0))
    assert (len(learn), len(choose), len(report)) == (LEAST - 1, 0, 0)


def test_against_a_naive_count() -> None:
    vectors = random_vectors(30, 6, seed=1)
    rng = np.random.default_rng(2)
    known = np.unique(np.sort(rng.integers(0, 30, (2, 60)), axis=0), axis=1)
    known = known[:, known[0] < known[1]]
    hidden = known[:, :9]
    found = judge(vectors, hidden, known, seed=5)
    drawn = np.random.default_rng(5).integers(0, 30, (18, 100))
    pairs = {tuple(pair) for pair in known.T.tolist()}
    shares, ranks = [], []
    for (asking, wanted), others in zip([*hidden.T, *hidden[::-1].T], drawn, strict=True):
        wrong = [o for o in others if o != asking and (min(o, asking), max(o, asking)) not in pairs]
        right = float(vectors[asking] @ vectors[wanted])
        above = sum(float(vectors[asking] @ vectors[o]) > right for o in wrong)
        shares.append(above / len(wrong))
        ranks.append(1 + above)
    assert found["auc"] == pytest.approx(1 - np.mean(shares), abs=1e-6)
    assert found["mrr"] == pytest.approx(np.mean(1 / np.array(ranks)), abs=1e-6)


def test_what_knows_nothing_is_a_coin_and_what_knows_all_is_right() -> None:
    vectors = np.repeat(np.eye(10, dtype=np.float32), 2, axis=0)
    pairs = np.arange(20).reshape(10, 2).T
    assert judge(vectors, pairs, pairs) == {"auc": 1.0, "mrr": 1.0}
    assert judge(np.ones((20, 3), np.float32) / 3**0.5, pairs, pairs)["auc"] == pytest.approx(0.5)
    assert judge(vectors, pairs[:, :0], pairs) == {}
    full = np.stack(np.triu_indices(4, 1))
    assert judge(vectors[:4], full, full) == {}, "nothing is left to rank against"


def test_a_text_that_is_its_entity() -> None:
    vectors = random_vectors(50, 8)
    assert found_alone(vectors[:20], vectors, np.arange(20)) == 1.0
    assert found_alone(vectors[:1], vectors, np.array([49])) < 1.0


def test_mean_of_the_neighbours() -> None:
    features = np.eye(3, dtype=np.float32)
    found = smoothed(features, np.array([[0, 0], [1, 2]]), np.array([3.0, 1.0], np.float32))
    expected = np.array([[1, 0.75, 0.25], [1, 1, 0], [1, 0, 1]])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
