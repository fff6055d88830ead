from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoders.graph.data import EntityGraph, both_ways
from kg.errors import BadInput, BadVector


def graph(edges: list[tuple[int, int, float, int]], count: int = 4) -> EntityGraph:
    found = np.array(edges, dtype=float).reshape(-1, 4)
    return EntityGraph(
        [f"t:{n}" for n in range(count)],
        ["t"] * count,
        np.eye(count, 5, dtype=np.float32),
        found[:, :2].astype(np.int64).T,
        found[:, 2].astype(np.float32),
        found[:, 3].astype(np.int8),
        ("text", "cooccurrence"),
    )


EDGES = [(0, 1, 0.5, 0), (1, 0, 0.25, 1), (2, 1, 0.5, 1), (3, 3, 1.0, 0), (0, 3, 0.0, 0), (0, 2, -0.1, 0)]


def test_pairs_are_merged_without_loops_and_without_what_has_no_weight() -> None:
    pairs, weights = graph(EDGES).merged("max")
    assert pairs.T.tolist() == [[0, 1], [1, 2]]
    assert weights.tolist() == [0.5, 0.5]
    assert graph(EDGES).merged("sum")[1].tolist() == [0.75, 0.5]
    edges, doubled = both_ways(pairs, weights)
    assert edges.T.tolist() == [[0, 1], [1, 2], [1, 0], [2, 1]]
    assert doubled.tolist() == [0.5, 0.5, 0.5, 0.5]


def test_pairs_know_their_sources() -> None:
    pairs, _ = graph(EDGES).merged()
    assert {name: has.tolist() for name, has in graph(EDGES).named(pairs).items()} == {
        "text": [True, False],
        "cooccurrence": [True, True],
    }


def test_no_edges_at_all() -> None:
    pairs, weights = graph([]).merged()
    assert (pairs.shape, weights.shape) == ((2, 0), (0,))
    assert graph([]).named(pairs) == {}


def test_the_digest_is_of_the_content() -> None:
    one = graph(EDGES)
    assert one.digest == graph(EDGES[::-1]).digest
    others = [
        graph(EDGES[:-1]),
        graph([(0, 1, 0.5, 1), *EDGES[1:]]),
        replace(one, weights=one.weights * 2),
        replace(one, keys=["u:0", *one.keys[1:]]),
        replace(one, features=one.features + 1),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keys": []}, BadInput, "no entities"),
        ({"keys": ["a", "a", "b", "c"]}, BadInput, "1 entity keys come twice"),
        ({"types": ["t"]}, BadVector, "1 types for 4 entities"),
        ({"features": np.zeros((3, 5), np.float32)}, BadVector, r"\(3, 5\)"),
        ({"features": np.full((4, 5), np.nan, np.float32)}, BadVector, "entity 't:0' are not finite"),
        ({"weights": np.zeros(2, np.float32)}, BadVector, "belong together"),
        (
            {"edges": np.array([[0], [4]]), "weights": np.ones(1), "sources": np.ones(1)},
            BadInput,
            "entity 4, there are 4",
        ),
        (
            {"edges": np.array([[0], [1]]), "weights": np.array([np.nan]), "sources": np.ones(1)},
            BadInput,
            "'t:0' and 't:1' has a weight that is not a finite number.*relate",
        ),
    ],
)
def test_bad_input_is_refused(change: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(graph(EDGES), **change)
