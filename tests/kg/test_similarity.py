from __future__ import annotations

import numpy as np
import pytest

from kg import similarity
from kg.errors import BadVector
from kg.similarity import GONE, NONE, mutual, mutual_neighbours, nearest, updated


def naive(vectors: np.ndarray, k: int, threshold: float) -> dict[tuple[int, int], float]:
    cosines = vectors @ vectors.T
    near = []
    for i in range(len(vectors)):
        others = sorted((j for j in range(len(vectors)) if j != i), key=lambda j: (-cosines[i, j], j))
        near.append(others[:k])
    return {
        (i, j): float(cosines[i, j])
        for i in range(len(vectors))
        for j in range(i + 1, len(vectors))
        if j in near[i] and i in near[j] and cosines[i, j] >= threshold
    }


@pytest.mark.parametrize(("count", "k"), [(0, 3), (1, 3), (2, 3), (60, 1), (60, 5), (60, 100)])
def test_pairs_agree_with_a_naive_search(monkeypatch: pytest.MonkeyPatch, count: int, k: int) -> None:
    monkeypatch.setattr(similarity, "BLOCK", 7)
    vectors = np.random.default_rng(count + k).standard_normal((count, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = list(mutual_neighbours(vectors, k=k, threshold=0.3))
    assert [(i, j) for i, j, _ in pairs] == sorted(expected := naive(vectors, k, 0.3))
    for i, j, cosine in pairs:
        assert cosine == pytest.approx(expected[i, j], abs=1e-6)


def test_equal_texts_are_each_others_nearest() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 1, 0, 2]]
    assert list(mutual_neighbours(vectors, k=1, threshold=0.5)) == [(0, 2, 1.0)]


def unit(draw: np.random.Generator, count: int, width: int = 6) -> np.ndarray:
    vectors = draw.standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(8))
def test_updated_neighbours_are_those_from_scratch(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Vectors come, go and change, equal ones, zero ones and fewer than k among them."""
    monkeypatch.setattr(similarity, "BLOCK", 5)
    monkeypatch.setattr(similarity, "SLACK", 2)
    draw, k = np.random.default_rng(seed), 4
    vectors = {name: vector for name, vector in enumerate(unit(draw, draw.integers(0, 40)))}
    near, names = nearest(matrix(vectors), k), sorted(vectors)
    for _ in range(6):
        before = dict(vectors)
        for name in draw.choice(60, draw.integers(0, 4), replace=False).tolist():
            vectors.pop(name, None)
        for name in draw.choice(60, draw.integers(0, 4), replace=False).tolist():
            others = list(vectors.values()) or [np.zeros(6, np.float32)]
            kinds = [unit(draw, 1)[0], others[draw.integers(len(others))], np.zeros(6, np.float32)]
            vectors[name] = kinds[draw.integers(3)]
        after = sorted(vectors)
        same = {name for name in after if name in before and np.array_equal(before[name], vectors[name])}
        number = {name: place for place, name in enumerate(after)}
        indices, scores = np.full((len(after), k), GONE, np.int64), np.zeros((len(after), k), np.float32)
        for place, name in enumerate(names):
            if name in same:
                kept = [number[names[o]] if o >= 0 and names[o] in same else GONE for o in near[0][place].tolist()]
                indices[number[name]] = np.where(near[0][place] == NONE, NONE, kept)
                scores[number[name]] = near[1][place]
        fresh = np.array([name not in same for name in after], np.bool_)
        near, names = updated(matrix(vectors), k, (indices, scores), fresh), after
        anew = nearest(matrix(vectors), k)
        np.testing.assert_array_equal(near[0], anew[0])
        np.testing.assert_array_equal(near[1], anew[1])


def matrix(vectors: dict[int, np.ndarray]) -> np.ndarray:
    return np.array([vectors[name] for name in sorted(vectors)], np.float32).reshape(len(vectors), 6)


def test_a_row_of_zeros_has_no_neighbours_and_is_nobodys() -> None:
    vectors = np.array([[1, 0], [0, 0], [1, 0], [-1, 0]], np.float32)
    indices, scores = nearest(vectors, 3)
    assert indices.tolist() == [[2, 3, NONE], [NONE] * 3, [0, 3, NONE], [0, 2, NONE]]
    assert scores[0].tolist() == [1.0, -1.0, -np.inf]


def test_a_vector_that_is_not_finite_is_refused() -> None:
    vectors = np.ones((3, 2), np.float32)
    vectors[2, 1] = np.nan
    with pytest.raises(BadVector, match="vector 2 has values that are not finite"):
        nearest(vectors, 1)


def test_very_many_equal_vectors() -> None:
    """Ties go to the smaller index, also where they are more than float32 hands on."""
    vectors = np.tile(unit(np.random.default_rng(0), 1, 384), (300, 1))
    indices, scores = nearest(vectors, 3)
    assert indices[:4].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert (indices[4:] == [0, 1, 2]).all()
    assert (scores == 1).all()


def test_pairs_that_agree() -> None:
    near = np.array([[1, 2], [0, NONE], [1, 0]]), np.array([[0.9, 0.5], [0.9, -np.inf], [0.8, 0.4]], np.float32)
    a, b, scores = mutual(near, 0.3)
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == [(0, 1), (0, 2)]
    assert scores == pytest.approx([0.9, 0.4])
    assert [len(part) for part in mutual(near, 0.45)] == [1, 1, 1]
    assert [len(part) for part in mutual((np.empty((0, 2), np.int64), np.empty((0, 2), np.float32)), 0)] == [0, 0, 0]
