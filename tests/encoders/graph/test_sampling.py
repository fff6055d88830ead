from __future__ import annotations

import numpy as np
import pytest

from encoders.graph.sampling import Neighbours


def edges(count: int = 40, many: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    codes = rng.choice(count * count, many, replace=False)
    return np.stack([codes // count, codes % count]), rng.uniform(0.1, 1, many).astype(np.float32)


def named(nodes: np.ndarray, found: np.ndarray, weights: np.ndarray) -> dict[tuple[int, int], float]:
    return {(int(nodes[a]), int(nodes[b])): float(w) for (a, b), w in zip(found.T, weights, strict=True)}


def test_the_whole_graph_is_all_its_edges() -> None:
    given, weights = edges()
    part = Neighbours(given, weights, 40).whole()
    assert named(part.nodes, part.edges, part.weights) == named(np.arange(40), given, weights)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_all_neighbours_are_those_of_a_naive_walk(hops: int) -> None:
    given, weights = edges()
    part = Neighbours(given, weights, 40).around(np.array([5, 2]), [None] * hops, np.random.default_rng(0))
    reached, wanted = {5, 2}, {}
    fresh = {5, 2}
    for _ in range(hops):
        new = {(int(a), int(b)): float(w) for (a, b), w in zip(given.T, weights, strict=True) if b in fresh}
        wanted |= new
        fresh = {a for a, _ in new} - reached
        reached |= fresh
    assert part.nodes[:2].tolist() == [5, 2]
    assert (len(part.nodes), set(part.nodes.tolist())) == (len(reached), reached)
    assert named(part.nodes, part.edges, part.weights) == wanted
    assert part.edges.shape[1] == len(wanted), "no edge twice"


def test_few_are_drawn_and_stand_for_all() -> None:
    given, weights = edges()
    neighbours = Neighbours(given, weights, 40)
    seeds = np.arange(40)
    total = np.bincount(given[1], weights=weights, minlength=40)
    sums = np.zeros(40)
    for turn in range(400):
        part = neighbours.around(seeds, [3], np.random.default_rng(turn), scaled=True)
        assert np.bincount(part.edges[1], minlength=40).max() <= 3
        assert set(named(part.nodes, part.edges, part.weights)) <= set(map(tuple, given.T.tolist()))
        sums += np.bincount(part.edges[1], weights=part.weights, minlength=len(part.nodes))[:40]
    np.testing.assert_allclose(sums / 400, total, rtol=0.15)


def test_loops_are_in_every_part() -> None:
    given, weights = edges()
    neighbours = Neighbours(given, weights, 40, loops=np.arange(40, dtype=np.float32))
    part = neighbours.around(np.array([7]), [2], np.random.default_rng(0))
    loops = part.edges[:, part.edges[0] == part.edges[1]]
    assert set(loops[0].tolist()) == set(range(len(part.nodes)))
    own = {
        a: w for (a, b), w in named(part.nodes, loops, part.weights[part.edges[0] == part.edges[1]]).items() if a == b
    }
    assert own == {int(node): float(node) for node in part.nodes}


def test_no_edges() -> None:
    part = Neighbours(np.empty((2, 0), np.int64), np.empty(0, np.float32), 3).around(
        np.array([1]), [5, 5], np.random.default_rng(0)
    )
    assert (part.nodes.tolist(), part.edges.shape) == ([1], (2, 0))
