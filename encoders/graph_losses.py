"""Losses by which a graph of entities teaches the encoder (after EGE-CMP, TPAMI 2023; formulas re-derived).

The graph says which entities are near each other (S, outside the gradient), the encoder's vectors e carry the
gradient. For each entity i: the near ones P_i = {j ≠ i: S_ij > high}, the far ones N_i = {j ≠ i: S_ij < low}; an entity
without either is left out.

    node      mean_i [ m − s(e_i, e_p) + s(e_i, e_n) ]₊            p of P_i, n of N_i, s the cosine
    subgraph  mean_i [ m − s(g_i, g_i⁺) + s(g_i, g_i⁻) ]₊          g the readout of a GNN over e_i (and, for + and −,
                                                                  κ nodes of P_i or N_i), whose edges are S
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Readout", "far", "near", "node_ranking", "subgraph_ranking"]


class Readout(nn.Module):
    """Vector of a small graph: one graph convolution with a residual, the mean over the nodes.

    h = e + W (D^-½ (S + I) D^-½) e, read out as the mean of h. W starts at 0: until it has learned anything a graph is
    the mean of its nodes.

    Args:
        dim: of a vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.change = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.change.weight)

    def forward(self, nodes: Tensor, edges: Tensor, there: Tensor) -> Tensor:
        """Nodes (A, K, D), edges (A, K, K) from 0, there (A, K) bool, to (A, D), unit rows."""
        weight = there.to(nodes.dtype)
        edges = edges * weight[:, :, None] * weight[:, None, :]
        edges = edges * (1 - torch.eye(edges.shape[1], device=edges.device)) + torch.diag_embed(weight)
        degree = edges.sum(dim=2).clamp(min=1e-12).rsqrt()
        mixed = torch.bmm(edges * degree[:, :, None] * degree[:, None, :], nodes)
        nodes = nodes + self.change(mixed)
        mean = (nodes * weight[:, :, None]).sum(dim=1) / weight.sum(dim=1, keepdim=True).clamp(min=1)
        return functional.normalize(mean, dim=-1)


def near(similar: Tensor, high: float) -> Tensor:
    """(U, U) similarities to (U, U) bool: j is one of P_i. No entity is near itself."""
    return (similar > high) & ~_self(similar)


def far(similar: Tensor, low: float) -> Tensor:
    """(U, U) similarities to (U, U) bool: j is one of N_i."""
    return (similar < low) & ~_self(similar)


def node_ranking(
    vectors: Tensor,
    similar: Tensor,
    *,
    high: float,
    low: float,
    margin: float = 0.2,
    hard: int = 1,
    draw: torch.Generator | None = None,
) -> Tensor:
    """The node-ranking loss of U entities; 0, with a gradient of 0, where no entity has both a near and a far one.

    Args:
        vectors: (U, D), unit rows, with gradient.
        similar: (U, U), S of these entities; its diagonal does not matter.
        high: S above which an entity is near.
        low: S below which it is far.
        margin: m.
        hard: of so many far ones drawn, the one that the encoder holds for the nearest.
        draw: a generator on the CPU.
    """
    positive, negative = near(similar, high), far(similar, low)
    rows = (positive.any(dim=1) & negative.any(dim=1)).nonzero()[:, 0]
    if not len(rows):
        return vectors.sum() * 0
    cosines = vectors[rows] @ vectors.T
    chosen, _ = _drawn(positive[rows], 1, draw)
    others, there = _drawn(negative[rows], hard, draw)
    wrong = cosines.gather(1, others).masked_fill(~there, float("-inf")).max(dim=1).values
    return functional.relu(margin - cosines.gather(1, chosen)[:, 0] + wrong).mean()


def subgraph_ranking(
    vectors: Tensor,
    similar: Tensor,
    readout: nn.Module,
    *,
    high: float,
    low: float,
    margin: float = 0.2,
    nodes: int = 4,
    draw: torch.Generator | None = None,
) -> Tensor:
    """The subgraph-ranking loss of U entities; 0, with a gradient of 0, where no entity has both sides.

    Args:
        vectors: (U, D), as for `node_ranking`.
        similar: (U, U), as there; also the edges of the subgraphs.
        readout: see `Readout`.
        high: as there.
        low: as there.
        margin: m.
        nodes: κ, of which fewer are taken where there are fewer.
        draw: a generator on the CPU.
    """
    positive, negative = near(similar, high), far(similar, low)
    rows = (positive.any(dim=1) & negative.any(dim=1)).nonzero()[:, 0]
    if not len(rows):
        return vectors.sum() * 0

    def graph(side: Tensor | None) -> Tensor:
        members, there = rows[:, None], torch.ones_like(rows, dtype=torch.bool)[:, None]
        if side is not None:
            chosen, some = _drawn(side[rows], nodes, draw)
            members, there = torch.cat([members, chosen], dim=1), torch.cat([there, some], dim=1)
        edges = similar[members[:, :, None], members[:, None, :]].clamp(min=0).to(vectors.dtype)
        return readout(vectors[members], edges, there)

    own, right, wrong = graph(None), graph(positive), graph(negative)
    return functional.relu(margin - (own * right).sum(dim=1) + (own * wrong).sum(dim=1)).mean()


def _drawn(mask: Tensor, count: int, draw: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Columns (A, count) drawn among the true ones of (A, U), without repetition; which of them are truly there."""
    order = torch.rand(mask.shape, generator=draw).to(mask.device)
    found = torch.where(mask, order, -1.0).topk(min(count, mask.shape[1]), dim=1)
    return found.indices, found.values >= 0


def _self(similar: Tensor) -> Tensor:
    return torch.eye(len(similar), dtype=torch.bool, device=similar.device)
