from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.entity_graph import (
    LEAST_SEEN,
    combined,
    cooccurrence,
    incidence,
    nearest,
    prototypes,
    reduced,
    rewired,
    smoothed,
    unit,
)


def rows(count: int, seed: int, width: int = 8) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, width)))


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 1000))
def test_the_graph_is_the_k_nearest_of_a_full_table(count: int, k: int, seed: int) -> None:
    vectors = rows(count, seed)
    found = nearest(vectors, k).toarray()
    scores = vectors @ vectors.T
    wanted = np.zeros((count, count), np.float32)
    for i in range(count):
        for j in sorted((j for j in range(count) if j != i), key=lambda j: -scores[i, j])[:k]:
            wanted[i, j] = wanted[j, i] = max(scores[i, j], 0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert not found.diagonal().any()
    np.testing.assert_array_equal(found, found.T)


def test_the_combination_of_sources_is_the_mean_of_their_cosines() -> None:
    parts = {"text": rows(5, 0), "visual": rows(5, 1, 3)}
    found = combined(parts, {"text": 1.0, "visual": 3.0})
    wanted = 0.25 * parts["text"] @ parts["text"].T + 0.75 * parts["visual"] @ parts["visual"].T
    np.testing.assert_allclose(found @ found.T, wanted, atol=1e-5)


def test_cooccurrence_is_of_ppmi() -> None:
    items = np.random.default_rng(0).integers(-1, 12, size=(90, 3))
    items[items == 11] = -1  # the last entity is nowhere
    which = incidence(items, 12).toarray()
    pairs = which.T @ which
    wanted = np.zeros((12, 12))
    for i in range(12):
        for j in range(12):
            if i != j and pairs[i, j]:
                wanted[i, j] = max(0.0, math.log(pairs[i, j] * 90 / (pairs[i, i] * pairs[j, j])))
    left, spread, _ = np.linalg.svd(wanted)
    best = (left * np.sqrt(spread))[:, :5]
    found = cooccurrence(items, 12, dim=5)
    np.testing.assert_allclose(found[:11] @ found[:11].T, unit(best[:11]) @ unit(best[:11]).T, atol=1e-3)
    assert np.abs(found[11]).max() == pytest.approx(0, abs=1e-4)


def test_prototypes_are_means_over_the_pictures_of_an_entity() -> None:
    features = np.random.default_rng(0).normal(size=(4, 2, 6)).astype(np.float16)
    items = np.array([[0, 1], [1, -1], [0, -1]] * 3 + [[2, -1]] * (LEAST_SEEN - 1))
    pictures = np.array([2, 0, 3] * 3 + [1] * (LEAST_SEEN - 1))
    seen = unit(features[pictures, 0].astype(np.float32))
    wanted = np.stack([(seen[0] + seen[2]) / 2, (seen[0] + seen[1]) / 2]) - seen.mean(axis=0)
    found = prototypes(features, pictures, items, 4)
    np.testing.assert_allclose(found[:2], unit(wanted), atol=1e-4)
    assert not found[2:].any()  # one of too few pictures, and one of none


def test_reduced_evidence_keeps_what_differs_most() -> None:
    vectors = rows(20, 0, 4) * [3, 1, 1, 0.1]
    centred = vectors - vectors.mean(axis=0)
    found = reduced(vectors, 6)
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found @ found.T, unit(left * spread) @ unit(left * spread).T, atol=1e-4)
    assert found.shape == (20, 6)


def test_a_rewired_graph_keeps_degrees_and_weights_and_little_else() -> None:
    graph = nearest(rows(60, 3), 5)
    other = rewired(graph, seed=0)
    assert np.array_equal((graph > 0).sum(axis=1), (other > 0).sum(axis=1))
    np.testing.assert_array_equal(np.sort(graph.data), np.sort(other.data))
    assert not other.diagonal().any()
    assert (abs(other - other.T)).nnz == 0
    kept = (graph.multiply(other > 0) > 0).sum() / graph.nnz
    assert kept < 0.3
    assert (abs(other - rewired(graph, seed=0))).nnz == 0
    assert (abs(other - rewired(graph, seed=1))).nnz > 0


def test_smoothed_vectors_lie_between_an_entity_and_its_neighbours() -> None:
    vectors = rows(6, 0)
    graph = nearest(vectors, 2)
    found = smoothed(vectors, graph)
    weights = graph.toarray()
    for i in range(6):
        mean = sum(weights[i, j] * vectors[j] for j in range(6)) / weights[i].sum()
        wanted = vectors[i] + mean / np.linalg.norm(mean)
        np.testing.assert_allclose(found[i], wanted / np.linalg.norm(wanted), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_entities(count: int) -> None:
    assert nearest(rows(count, 0), 5).shape == (count, count)
    assert cooccurrence(np.full((3, 2), -1), count).shape[0] == count
