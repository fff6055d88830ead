"""The networks: GCN, GraphSAGE or GAT layers of PyTorch Geometric, and a way past them for what a text says alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, GCNConv, SAGEConv

__all__ = ["GraphNetwork", "Kind", "with_loops"]

Kind = Literal["gcn", "sage", "gat"]


class GraphNetwork(nn.Module):
    """Features (N, inside) and edges to (N, dim): `layers` convolutions with ReLU in between.

    With `gcn`: Z = Â ReLU(Â X W1) W2, where Â = D^-1/2 (W + I) D^-1/2 comes with the edges, see `with_loops`. `sage`
    takes the mean of the neighbours whatever the weights, `gat` attends to them with the weight as a feature of the
    edge.

    Args:
        kind: of convolution.
        inside: width of the features.
        hidden: width between two convolutions; for `gat` divisible by `heads`.
        dim: width of the result.
        layers: convolutions, at least 1.
        heads: attention heads of `gat` in all layers but the last, which has one.
        dropout: on what goes into a convolution, in training only.
        skip: a projection of the features is added to the result. It starts as a random rotation, under which near
            texts stay near, so that a node without edges is found by its text before anything is learned.

    Raises:
        ValueError: no layer, or heads that do not divide `hidden`.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        inside: int,
        hidden: int,
        dim: int,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        skip: bool = True,
    ) -> None:
        super().__init__()
        if layers < 1 or (kind == "gat" and hidden % heads):
            raise ValueError(f"layers ({layers}) must be at least 1, hidden ({hidden}) divisible by heads ({heads})")
        self.kind = kind
        widths = [inside, *[hidden] * (layers - 1), dim]
        self.layers = nn.ModuleList(
            _layer(kind, a, b, heads if at < layers - 1 else 1) for at, (a, b) in enumerate(pairwise(widths))
        )
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Linear(inside, dim, bias=False) if skip else None
        if self.skip is not None:
            nn.init.orthogonal_(self.skip.weight)

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
        """Features (N, inside), edges (2, E) from neighbour to node, weights (E,): (N, dim), rows of any length.

        For `gcn` edges and weights are those of `with_loops`.
        """
        h = x
        for at in range(len(self.layers)):
            h = self.step(at, h, edges, weights)
        return h if self.skip is None else h + self.skip(x)

    def step(self, at: int, h: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
        """One convolution, with what stands before it."""
        h = self.dropout(torch.relu(h) if at else h)
        if self.kind == "gat":
            return self.layers[at](h, edges, weights[:, None])
        return self.layers[at](h, edges) if self.kind == "sage" else self.layers[at](h, edges, weights)


def _layer(kind: Kind, inside: int, outside: int, heads: int) -> nn.Module:
    if kind == "sage":
        return SAGEConv(inside, outside)
    if kind == "gat":  # a node attends to itself as to a neighbour of full weight
        return GATv2Conv(inside, outside // heads, heads=heads, edge_dim=1, fill_value=1.0)
    return GCNConv(inside, outside, normalize=False, add_self_loops=False)


def with_loops(edges: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The edges of `gcn`: a loop of weight 1 at each of `count` nodes, all divided by the roots of both ends' degrees.

    Args:
        edges: (2, E), each in both directions, no loops.
        weights: (E,), not negative.
        count: nodes.
    """
    loops = torch.arange(count, device=edges.device).expand(2, -1)
    edges = torch.cat([edges, loops], dim=1)
    weights = torch.cat([weights, weights.new_ones(count)])
    degrees = weights.new_zeros(count).index_add_(0, edges[1], weights)
    return edges, weights * (degrees[edges[0]] * degrees[edges[1]]).rsqrt()
