from __future__ import annotations

import numpy as np
import pytest

from encoders import neighbours
from encoders.neighbours import approximate, nearest
from kg.errors import BadVector
from kg.similarity import NONE
from kg.similarity import nearest as exact


def clusters(count: int, width: int = 32) -> np.ndarray:
    draw = np.random.default_rng(count)
    centres = draw.standard_normal((max(count // 30, 1), width))
    vectors = centres[draw.integers(len(centres), size=count)] + 0.7 * draw.standard_normal((count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_most_neighbours_are_found_and_their_scores_are_exact() -> None:
    vectors = clusters(4000)
    vectors[[5, 700]] = 0
    seen = []
    found, scores = approximate(vectors, 10, on_progress=lambda done, total: seen.append((done, total)))
    indices, best = exact(vectors, 10)
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), indices.tolist(), strict=True))
    assert hits / indices.size > 0.95
    assert (found[[5, 700]] == NONE).all()
    assert not np.isin(found, [5, 700]).any()
    assert not (found == np.arange(len(found))[:, None]).any()
    same = found[:, 0] == indices[:, 0]
    np.testing.assert_array_equal(scores[same, 0], best[same, 0])
    assert (np.diff(scores[np.isfinite(scores).all(axis=1)], axis=1) <= 0).all()
    assert seen[-1][0] == 3998
    assert seen[-1][1] == 4000


def test_up_to_a_number_all_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clusters(300)
    np.testing.assert_array_equal(nearest(vectors, 5)[0], exact(vectors, 5)[0])
    monkeypatch.setattr(neighbours, "EXACT", 299)
    assert (nearest(vectors, 5)[0] >= 0).all()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_vectors(count: int) -> None:
    np.testing.assert_array_equal(approximate(clusters(count), 3)[0], exact(clusters(count), 3)[0])


def test_equal_vectors() -> None:
    vectors = np.tile(clusters(1), (500, 1))
    found, scores = approximate(vectors, 3)
    assert (scores == 1).all()
    assert not (found == np.arange(500)[:, None]).any()


def test_many_equal_vectors_do_not_hide_the_others_from_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "FLAT", 32)  # groups of centres, as there are among more vectors
    vectors = clusters(8000)
    equal = np.arange(8000) % 10 != 0
    vectors[equal] = vectors[1]
    found, _ = approximate(vectors, 5)
    rest = np.flatnonzero(~equal)
    best = np.sort(vectors[rest] @ vectors[rest].T, axis=1)[:, -6:-5]  # the fifth beside itself
    scores = np.einsum("nd,nkd->nk", vectors[rest], vectors[found[rest]])
    assert (scores >= best - 1e-5).mean() > 0.95


def test_a_vector_that_is_not_finite_is_refused() -> None:
    vectors = clusters(10)
    vectors[3] = np.inf
    with pytest.raises(BadVector, match="vector 3"):
        approximate(vectors, 3)
