"""What of a picture's vector is kept from training: the principal components of what the frozen backbone saw.

A contrast with captions teaches what captions say. Two chairs of one caption and different legs come nearer, and the
difference that finds this very chair in a room goes. So a vector may have two parts:

    picture  [√(1 − s) · trained, √s · kept]        text  [trained, 0]

Pictures compare by both parts, (1 − s) · cos + s · cos, texts with pictures by the trained one alone: their order is
that of the trained part. Not in the papers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Kept", "principal"]

LEAST = 1e-3  # of the first component's spread that another must have


@dataclass(frozen=True)
class Kept:
    """The part that is kept.

    Attributes:
        weight: (K, W), from features of the global token to the part.
        bias: (K,).
        share: s above, between 0 and 1.
    """

    weight: Tensor
    bias: Tensor
    share: float

    @property
    def dim(self) -> int:
        return len(self.weight)

    def pictures(self, trained: Tensor, features: Tensor) -> Tensor:
        """(N, D) unit rows and (N, W) global features to (N, D + K), unit rows."""
        part = functional.normalize(functional.linear(features.float(), self.weight, self.bias), dim=-1)
        return torch.cat([math.sqrt(1 - self.share) * trained.float(), math.sqrt(self.share) * part], dim=1)

    def texts(self, trained: Tensor) -> Tensor:
        """(N, D) unit rows to (N, D + K), unit rows."""
        return functional.pad(trained.float(), (0, self.dim))


def principal(features: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The map (K, W) and offset (K,) to at most `dim` principal components of features (N, W), of mean length 1 and
    half-whitened: each divided by the root of its standard deviation, so that the strongest do not drown the rest.
    What hardly varies is no component: of N pictures there are fewer than N, and the last would be noise blown up."""
    mean = features.float().mean(dim=0)
    _, spread, basis = torch.linalg.svd(features.float() - mean, full_matrices=False)
    dim = max(1, min(dim, int((spread > LEAST * spread[0]).sum())))
    spread = spread[:dim] / len(features) ** 0.5
    basis = basis[:dim] / (spread + 1e-6)[:, None].sqrt() / spread.sum().clamp(min=1e-6).sqrt()
    return basis, -(basis @ mean)
