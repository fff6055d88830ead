"""The sparse form against the dense one of the paper, written out naively."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from encoders.graph import adaptive
from encoders.graph.adaptive import adaptive_graph, closed_form, divergence, neighbourhoods, smoothness, symmetrised
from encoders.graph.layers import GraphNetwork, with_loops
from kg.errors import BadInput, BadVector


def rows(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return functional.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def dense_p(z: torch.Tensor, k: int) -> torch.Tensor:
    """P (N, N), node by node."""
    p = torch.zeros(len(z), len(z))
    for i in range(len(z)):
        d = [(float((z[i] - z[j]).square().sum()), j) for j in range(len(z)) if j != i]
        d.sort()
        last = d[k][0]
        total = k * last - sum(far for far, _ in d[:k])
        for far, j in d[:k]:
            p[i, j] = (last - far) / total
    return p


def spread(near: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(near), len(near)).scatter_(1, near, p)


def test_weights_in_closed_form_and_their_symmetric_mean() -> None:
    z = rows(40, 6)
    near, p = neighbourhoods(z, 5)
    expected = dense_p(z, 5)
    torch.testing.assert_close(spread(near, p), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(40))
    edges, weights = symmetrised(near, p)
    w = torch.zeros(40, 40).index_put_(tuple(edges), weights)
    torch.testing.assert_close(w, (expected + expected.T) / 2, atol=1e-4, rtol=1e-4)


def test_all_equally_far_share_equally() -> None:
    torch.testing.assert_close(closed_form(torch.full((2, 4), 0.7)), torch.full((2, 3), 1 / 3))


@pytest.mark.parametrize("block", [1, 97, 1 << 20])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    z = rows(50, 8)
    expected = adaptive.nearest(z, 7)
    monkeypatch.setattr(adaptive, "BLOCK", block)
    found = adaptive.nearest(z, 7)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


def test_many_rows_are_found_by_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    z = rows(600, 8)
    exact, _ = adaptive.nearest(z, 5)
    monkeypatch.setattr(adaptive.neighbours, "EXACT", 100)
    found, distances = adaptive.nearest(z, 5)
    same = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert np.mean(same) > 4.5
    assert (distances.diff(dim=1) >= -1e-6).all()
    torch.testing.assert_close(neighbourhoods(z, 5)[1].sum(dim=1), torch.ones(600))
    none = np.full((600, 5), -1), np.full((600, 5), -np.inf, np.float32)
    monkeypatch.setattr(adaptive.neighbours, "approximate", lambda *_: none)
    found, distances = adaptive.nearest(z, 5)
    assert (found == torch.arange(600)[:, None]).all()
    assert (distances == adaptive.FAR).all()
    assert symmetrised(found[:, :-1], closed_form(distances))[0].shape == (2, 0), "nobody is its own neighbour"


def test_loss_with_a_sample_of_everything_is_the_dense_one() -> None:
    count, k, scale = 30, 4, 3.0
    z, (near, p) = rows(count, 5, seed=1), neighbourhoods(rows(count, 5, seed=2), k)
    distances = scale * torch.cdist(z, z).square()
    q = torch.softmax((-distances).masked_fill(torch.eye(count, dtype=torch.bool), -torch.inf), dim=1)
    dense = spread(near, p)
    kl = sum(
        float(dense[i, j] * (dense[i, j].log() - q[i, j].log()))
        for i in range(count)
        for j in range(count)
        if dense[i, j] > 0
    )
    found = divergence(z, torch.arange(count), near, p, torch.randperm(count), count, scale)
    assert float(found) == pytest.approx(kl / count, rel=1e-4)
    part = divergence(z, torch.arange(count), near, p, torch.randperm(count)[:12], count, scale)
    assert float(part) != pytest.approx(kl / count, rel=1e-6)
    assert float(part) == pytest.approx(kl / count, rel=0.2), "a sample stands for all"
    w = (dense + dense.T) / 2
    laplacian = torch.diag(w.sum(dim=1)) - w
    smooth = torch.trace(z.T @ laplacian @ z) / count
    assert float(smoothness(z, *symmetrised(near, p))) == pytest.approx(float(smooth), rel=1e-4)


def test_sampled_sum_is_right_on_average() -> None:
    count, k = 60, 4
    z, (near, p) = rows(count, 5, seed=1), neighbourhoods(rows(count, 5, seed=2), k)
    every = torch.arange(count)
    exact = float(divergence(z, every, near, p, every, count))
    draws = [float(divergence(z, every, near, p, torch.randperm(count)[:30], count)) for _ in range(200)]
    assert np.mean(draws) == pytest.approx(exact, abs=0.01)


def test_gcn_is_the_formula() -> None:
    x, (near, p) = rows(20, 6), neighbourhoods(rows(20, 6), 3)
    network = GraphNetwork("gcn", inside=6, hidden=7, dim=4, skip=False)
    edges, weights = symmetrised(near, p)
    a = torch.zeros(20, 20).index_put_(tuple(edges), weights) + torch.eye(20)
    a = a / (a.sum(dim=0)[:, None] * a.sum(dim=0)).sqrt()
    first, second = network.layers
    hidden = torch.relu(a @ x @ first.lin.weight.T + first.bias)
    torch.testing.assert_close(
        network(x, *with_loops(edges, weights, 20)), a @ hidden @ second.lin.weight.T + second.bias
    )


def test_clusters_become_neighbourhoods_and_the_seed_decides() -> None:
    centres = rows(4, 16, seed=3)
    kinds = torch.arange(60) % 4
    features = centres[kinds] + 0.1 * rows(60, 16, seed=4)
    state = torch.random.get_rng_state()
    near, weights, z = adaptive_graph(features.requires_grad_(), k=8, outer=3, inner=5)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random state stays"
    assert (near.shape, weights.shape, z.shape) == ((60, 8), (60, 8), (60, 64))
    assert (near.dtype, weights.dtype, z.dtype) == (np.int64, np.float32, np.float32)
    assert (kinds.numpy()[near] == kinds.numpy()[:, None]).mean() > 0.95
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    again = adaptive_graph(features, k=8, outer=3, inner=5)
    np.testing.assert_array_equal(z, again[2])
    assert not np.array_equal(z, adaptive_graph(features, k=8, outer=3, inner=5, seed=1)[2])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_few_nodes(count: int) -> None:
    near, weights, z = adaptive_graph(rows(count, 6), k=4, outer=2, inner=2)
    assert (near.shape, weights.shape, z.shape) == ((count, 4), (count, 4), (count, 64))
    assert np.isfinite(z).all()
    np.testing.assert_allclose(weights.sum(axis=1), min(max(count - 1, 0), 1), atol=1e-5)
    assert ((near != np.arange(count)[:, None]) | (weights == 0)).all()


def test_equal_rows_and_zero_rows_give_finite_numbers() -> None:
    features = torch.zeros(12, 6)
    features[:6] = 1.0
    near, weights, z = adaptive_graph(features, k=3, outer=2, inner=2)
    assert np.isfinite(weights).all()
    assert np.isfinite(z).all()
    assert near.max() < 12


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInput, match="k = 0"):
        adaptive_graph(rows(5, 3), k=0)
    with pytest.raises(BadVector, match=r"\(5,\)"):
        adaptive_graph(torch.ones(5), k=2)
    with pytest.raises(BadVector, match="finite"):
        adaptive_graph(torch.full((5, 2), torch.nan), k=2)
