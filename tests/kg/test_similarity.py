from __future__ import annotations

import numpy as np
import pytest

from kg import similarity
from kg.similarity import mutual_neighbours


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
