from __future__ import annotations

import numpy as np
import torch

from encoders.graph.adaptive import neighbourhoods
from encoders.graph.layers import with_loops
from encoders.graph.messages import blended, messages


def test_weights_of_a_gcn_are_normalised_with_loops() -> None:
    pairs, weights = np.array([[0, 1], [1, 2]]), np.array([0.5, 2.0], np.float32)
    part = messages(pairs, weights, 4, looped=True).whole()
    found = np.zeros((4, 4))
    found[part.edges[0], part.edges[1]] = part.weights
    both = torch.tensor([[0, 1, 1, 2], [1, 2, 0, 1]])
    edges, expected = with_loops(both, torch.tensor([0.5, 2.0, 0.5, 2.0]), 4)
    np.testing.assert_allclose(found[edges[0], edges[1]], expected, atol=1e-6)
    assert np.count_nonzero(found) == 8
    assert messages(pairs, weights, 4, looped=False).whole().edges.shape == (2, 4)


def test_given_and_adaptive_neighbours_share_a_node() -> None:
    z = torch.nn.functional.normalize(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    near, p = neighbourhoods(z, 3)
    pairs, weights = np.array([[0, 0, 0, 0, 1], [1, 2, 3, 4, 5]]), np.array([0.9, 0.8, 0.7, 0.1, 0.4], np.float32)
    found, mixed = blended(near, p, pairs, weights, 0.25)
    dense = np.zeros((12, 12))
    np.add.at(dense, (np.arange(12)[:, None], found), mixed)
    for i in range(12):
        given = {j: float(w) for a, b, w in zip(*pairs, weights, strict=True) for i_, j in ((a, b), (b, a)) if i_ == i}
        given = dict(sorted(given.items(), key=lambda one: -one[1])[:3])
        expected = np.zeros(12)
        expected[near[i].numpy()] = p[i].numpy() * (0.75 if given else 1)
        for j, weight in given.items():
            expected[j] += 0.25 * weight / sum(given.values())
        np.testing.assert_allclose(dense[i], expected, atol=1e-6)
    real = (mixed > 0) & (found != np.arange(12)[:, None])
    assert all(len(set(row[kept])) == kept.sum() for row, kept in zip(found, real, strict=True)), "nobody twice"
