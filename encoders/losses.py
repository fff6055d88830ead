"""Losses, each a plain function of normalised vectors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["info_nce"]


def info_nce(pictures: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE where an item may have several positives (Radford et al., ICML 2021; Khosla et al., 2020).

    With s_ij = scale · v_i · t_j and P_i the positives of i:
    loss = ½ Σ over both directions of mean_i of −(1 / |P_i|) Σ_{j in P_i} log softmax(s_i)_j

    Args:
        pictures: (B, D), unit rows.
        texts: (B, D), unit rows.
        scale: scalar, one over the temperature.
        same: (B, B) bool, symmetric, true on the diagonal: the pairs that belong together.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if pictures.shape != texts.shape or same.shape != (len(pictures), len(pictures)):
        raise ValueError(
            f"pictures {tuple(pictures.shape)}, texts {tuple(texts.shape)}, same {tuple(same.shape)}: "
            "the first two must be equal (B, D), the third (B, B)"
        )
    target = same.to(pictures.dtype)
    target = target / target.sum(dim=1, keepdim=True)
    scores = scale * pictures @ texts.T
    return (functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)) / 2
