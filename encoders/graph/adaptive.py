"""A graph that fits its nodes: the adaptive graph auto-encoder, in a form that never holds N x N numbers.

As in AdaGAE (arXiv 2002.08648): each node's neighbours are the k nearest, with weights in closed form,

    p_ij = (d_i,k+1 - d_ij)+ / (k d_i,k+1 - sum_j' d_ij'),    W = (P + P^T) / 2,

a GCN over W gives Z, and is trained so that q_i = softmax_j(-s |z_i - z_j|²) comes near to p_i:

    loss = mean_i KL(p_i || q_i) + lambda / N tr(Z^T L Z);

then P is built anew from Z with a larger k, and so on. Here the rows of Z have unit length (their cosines are what is
compared later) and s scales their distances. Nobody is its own neighbour. The sum below the softmax runs over i's
neighbours and over a sample that stands for all others; with a sample of everything it is exact.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from encoders import neighbours
from encoders.graph.layers import GraphNetwork, with_loops
from kg.errors import BadInput, BadVector

__all__ = ["adaptive_graph", "closed_form", "divergence", "nearest", "neighbourhoods", "smoothness", "symmetrised"]

BLOCK = 1 << 22  # distances in memory at a time
FAR = 4.0  # the largest squared distance of two unit vectors
K_FIRST = 3


def adaptive_graph(
    features: Tensor | NDArray[np.float32],
    *,
    k: int,
    dim: int = 64,
    hidden: int = 128,
    outer: int = 5,
    inner: int = 20,
    rate: float = 5e-3,
    smooth: float = 0.2,
    scale: float = 10.0,
    others: int = 512,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Neighbours that fit the features, after `outer` rounds of training and building anew.

    Gradients do not reach `features`, and the caller's random state stays as it is.

    Args:
        features: (N, F), any length of rows; their directions count.
        k: neighbours in the end; the first round begins with 3.
        dim: width of z.
        hidden: width between the two layers.
        outer: how often the graph is built anew.
        inner: steps of Adam in between.
        rate: of learning.
        smooth: lambda, the weight of the smoothness.
        scale: s, the sharpness of the softmax.
        others: nodes in the sample that stands for all who are no neighbours.
        seed: equal seeds give equal results on the same machine.
        device: of torch.

    Returns:
        neighbours (N, k), nearest first; weights (N, k) whose rows sum to 1; z (N, dim), unit rows. Where there are
        fewer than k others, the rest names the node itself with weight 0.

    Raises:
        BadInput: k is below 1.
        BadVector: the features are no matrix, or not finite.
    """
    if k < 1:
        raise BadInput(f"k = {k}: a graph needs at least 1 neighbour")
    x = torch.as_tensor(features, dtype=torch.float32).detach().to(device)
    if x.ndim != 2 or not torch.isfinite(x).all():
        raise BadVector(f"features of shape {tuple(x.shape)} must be a matrix of finite numbers")
    count, x = len(x), functional.normalize(x, dim=-1)
    if count < 3:  # nothing to choose from
        z = functional.pad(x, (0, max(dim - x.shape[1], 0)))[:, :dim]
        return *_padded(*neighbourhoods(z, k), k), functional.normalize(z, dim=-1).cpu().numpy()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = GraphNetwork("gcn", inside=x.shape[1], hidden=hidden, dim=dim, skip=False).to(device)
        draw = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        near, p = neighbourhoods(x, min(K_FIRST, k))
        rows = torch.arange(count, device=device)
        for turn in range(outer):
            edges, weights = symmetrised(near, p)
            looped = with_loops(edges, weights, count)
            for _ in range(inner):
                z = functional.normalize(network(x, *looped), dim=-1)
                sample = torch.randperm(count, generator=draw)[:others].to(device)
                loss = divergence(z, rows, near, p, sample, count, scale) + smooth * smoothness(z, edges, weights)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                z = functional.normalize(network(x, *looped), dim=-1)
            near, p = neighbourhoods(z, round(K_FIRST + (k - K_FIRST) * (turn + 1) / outer) if k > K_FIRST else k)
    return *_padded(near, p, k), z.detach().cpu().numpy()


def neighbourhoods(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Neighbours (N, k') and weights P (N, k') of unit rows; k' is `k`, or N - 1 where that is less."""
    near, distances = nearest(z, k + 1)
    least = min(k, near.shape[1])
    if near.shape[1] <= k:  # nobody is left to stand for d_i,k+1: a little beyond the last
        distances = torch.cat([distances, distances[:, -1:] * 1.1 + 1e-6], dim=1) if near.shape[1] else distances
    return near[:, :least], closed_form(distances) if least else distances


def closed_form(distances: Tensor) -> Tensor:
    """P (N, k) of squared distances (N, k + 1), ascending: what falls to a neighbour for being nearer than the last.

    All equally far: the same for each.
    """
    last, rest = distances[:, -1:], distances[:, :-1]
    gaps = (last - rest).clamp(min=0)
    total = gaps.sum(dim=1, keepdim=True)
    return torch.where(total > 1e-12, gaps / total.clamp(min=1e-12), torch.full_like(gaps, 1 / max(rest.shape[1], 1)))


def nearest(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each unit row's nearest others (N, min(k, N - 1)) with their squared distances, ascending.

    Exact, in blocks; on a CPU with more rows than `encoders.neighbours.EXACT` some are missed. Where one finds fewer,
    the rest names the row itself, as far away as can be.
    """
    count = len(z)
    k = max(min(k, count - 1), 0)
    if count > neighbours.EXACT and z.device.type == "cpu":
        found, scores = neighbours.approximate(z.numpy(), k)
        itself = np.arange(count)[:, None]
        far = np.where(found >= 0, np.clip(2 - 2 * scores, 0, FAR), FAR).astype(np.float32)
        return torch.from_numpy(np.where(found >= 0, found, itself)), torch.from_numpy(far)
    near = torch.empty(count, k, dtype=torch.long, device=z.device)
    distances = torch.empty(count, k, device=z.device)
    step = max(BLOCK // max(count, 1), 1)
    for start in range(0, count, step):
        cosines = z[start : start + step] @ z.T
        own = torch.arange(start, start + len(cosines), device=z.device)
        cosines[own - start, own] = -torch.inf
        best = cosines.topk(k, dim=1)
        near[start : start + step], distances[start : start + step] = best.indices, (2 - 2 * best.values).clamp(min=0)
    return near, distances


def symmetrised(near: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Edges (2, E) of W = (P + P^T) / 2, both directions, each pair once, and their weights; zeros are left out."""
    count, k = near.shape
    i = torch.arange(count, device=near.device).repeat_interleave(k)
    j, weights = near.reshape(-1), p.reshape(-1) / 2
    kept = (weights > 0) & (i != j)
    i, j, weights = i[kept], j[kept], weights[kept]
    codes, where = torch.unique(torch.cat([i * count + j, j * count + i]), return_inverse=True)
    summed = weights.new_zeros(len(codes)).index_add_(0, where, torch.cat([weights, weights]))
    return torch.stack([codes // count, codes % count]), summed


def divergence(
    z: Tensor, rows: Tensor, near: Tensor, p: Tensor, sample: Tensor, count: int, scale: float = 1.0
) -> Tensor:
    """mean_i KL(p_i || q_i) over the nodes `rows`.

    Args:
        z: (M, D), the table that the other arguments are indices of.
        rows: (B,).
        near: (B, k), neighbours of each; one that is the node itself does not count.
        p: (B, k), their weights.
        sample: (S,), all different: stands for all nodes that are no neighbours.
        count: N, how many nodes there are, of which the sample may be a part.
        scale: s.
    """
    real = (near != rows[:, None]) & (p > 0)
    to_near = scale * (z[rows][:, None] - z[near]).square().sum(dim=-1)
    to_sample = scale * (
        z[rows].square().sum(dim=-1, keepdim=True) + z[sample].square().sum(dim=-1) - 2 * z[rows] @ z[sample].T
    )
    # Who of the sample is a neighbour, or the node itself, is not of "all others".
    at = torch.full((len(z),), -1, dtype=torch.long, device=z.device)
    at[sample] = torch.arange(len(sample), device=z.device)
    known = torch.cat([torch.where(real, at[near], -1), at[rows][:, None]], dim=1)
    taken = torch.zeros(len(rows), len(sample) + 1, dtype=torch.bool, device=z.device)
    taken.scatter_(1, torch.where(known < 0, len(sample), known), True)
    free = ~taken[:, :-1]
    left = count - 1 - real.sum(dim=1)
    each = (left.clamp(min=1) / free.sum(dim=1).clamp(min=1)).log()  # how many one of the sample stands for
    terms = torch.cat(
        [(-to_near).masked_fill(~real, -torch.inf), (each[:, None] - to_sample).masked_fill(~free, -torch.inf)], 1
    )
    total = torch.logsumexp(terms, dim=1)
    safe = torch.where(real, p, 1.0)
    parts = torch.where(real, safe * (safe.log() + to_near + total[:, None]), 0.0)
    return parts.sum() / max(len(rows), 1)


def smoothness(z: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
    """tr(Z^T L Z) / N = 1/2 sum_ij w_ij |z_i - z_j|² / N, for edges in both directions."""
    return (weights * (z[edges[0]] - z[edges[1]]).square().sum(dim=-1)).sum() / (2 * max(len(z), 1))


def _padded(near: Tensor, p: Tensor, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    lacking = k - near.shape[1]
    if lacking > 0:
        own = torch.arange(len(near), device=near.device)[:, None].expand(-1, lacking)
        near, p = torch.cat([near, own], dim=1), functional.pad(p, (0, lacking))
    return near.cpu().numpy(), p.cpu().numpy()
