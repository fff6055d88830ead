"""Along which edges messages pass, and which neighbourhoods the adaptive loss asks for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.graph.adaptive import symmetrised
from encoders.graph.data import both_ways
from encoders.graph.sampling import Neighbours

__all__ = ["blended", "messages"]

Adaptive = tuple[NDArray[np.int64], NDArray[np.float32]]  # neighbours (N, k) and their weights


def messages(
    pairs: NDArray[np.int64], weights: NDArray[np.float32], count: int, *, looped: bool, blend: Adaptive | None = None
) -> Neighbours:
    """The graph that a network sees: given pairs (2, M) in both directions, or the blend with the adaptive graph.

    With `looped` the weights are those of the normalised adjacency of a GCN, with a loop of weight 1 at each node.
    """
    if blend is not None:
        near, p = (torch.from_numpy(part) for part in blend)
        edges, strengths = (part.numpy() for part in symmetrised(near, p))
    else:
        edges, strengths = both_ways(pairs, weights)
    if not looped:
        return Neighbours(edges, strengths, count)
    degrees = 1 + np.bincount(edges[1], weights=strengths, minlength=count)
    normal = strengths / np.sqrt(degrees[edges[0]] * degrees[edges[1]])
    return Neighbours(edges, normal.astype(np.float32), count, loops=(1 / degrees).astype(np.float32))


def blended(near: Tensor, p: Tensor, pairs: NDArray[np.int64], weights: NDArray[np.float32], share: float) -> Adaptive:
    """The adaptive neighbourhoods mixed with the given ones: `share` of a node's weight goes to its given neighbours,
    of which it has at most as many as adaptive ones, the heaviest; all of it to the others where it has none given.

    Args:
        near: (N, k).
        p: (N, k), rows that sum to 1.
        pairs: (2, M) given ones.
        weights: (M,) their weights.
        share: 0 … 1.

    Returns:
        neighbours (N, up to 2 k) and weights; what is missing in a row names the node itself with weight 0.
    """
    count, k = near.shape
    edges, strengths = both_ways(pairs, weights)
    order = np.lexsort((-strengths, edges[1]))
    to, other, strengths = edges[1][order], edges[0][order], strengths[order].astype(np.float64)
    kept = _places(to, count) < k
    to, other, strengths = to[kept], other[kept], strengths[kept]
    total = np.bincount(to, weights=strengths, minlength=count)
    has = total > 0
    rows = np.arange(count).repeat(k)
    own = p.cpu().numpy().astype(np.float64).ravel() * np.where(has, 1 - share, 1.0)[rows]
    codes = np.concatenate([rows * count + near.cpu().numpy().ravel(), to * count + other])
    values = np.concatenate([own, share * strengths / total[to]])
    unique, where = np.unique(codes, return_inverse=True)
    summed = np.bincount(where, weights=values, minlength=len(unique))
    unique, summed = unique[summed > 0], summed[summed > 0]
    i, j = unique // count, unique % count
    at = _places(i, count)
    width = int(at.max()) + 1 if len(at) else 0
    mixed = np.tile(np.arange(count)[:, None], (1, width))
    mixed_p = np.zeros((count, width), np.float32)
    mixed[i, at], mixed_p[i, at] = j, summed
    return mixed, mixed_p


def _places(sorted_rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Of rows in order, the how-manieth of its row each is, from 0."""
    sizes = np.bincount(sorted_rows, minlength=count)
    return np.arange(len(sorted_rows)) - (sizes.cumsum() - sizes)[sorted_rows]
