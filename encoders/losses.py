"""Losses, each a plain function of normalised vectors or of predictions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["info_nce", "masked_regions", "masked_words", "nt_xent"]


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
    _fit(pictures, texts, same)
    target = same.to(pictures.dtype)
    target = target / target.sum(dim=1, keepdim=True)
    scores = scale * pictures @ texts.T
    return (functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)) / 2


def nt_xent(pictures: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Contrast of 2B vectors, those of the same kind included (CAPTURE, ICCV 2021; Chen et al., ICML 2020).

    With z the 2B vectors, p(i) the other vector of the item of z_i, and N_i the vectors of other items that do not
    belong together with it, s_ik = scale · z_i · z_k:
    loss = mean_i of −log (e^{s_i,p(i)} / (e^{s_i,p(i)} + Σ_{k in N_i} e^{s_ik}))
    Where no two items belong together this is the published loss, whose sum runs over all k ≠ i.

    Args:
        pictures: (B, D), unit rows.
        texts: (B, D), unit rows.
        scale: scalar, one over the temperature (0.07 in the paper).
        same: (B, B) bool, symmetric, true on the diagonal: items of one product or of one text are no negatives.

    Raises:
        ValueError: the shapes do not fit together.
    """
    _fit(pictures, texts, same)
    count = len(pictures)
    both = torch.cat([pictures, texts])
    scores = scale * both @ both.T
    partner = torch.arange(2 * count, device=both.device).roll(count)
    hidden = same.repeat(2, 2)
    hidden[torch.arange(2 * count, device=both.device), partner] = False
    return functional.cross_entropy(scores.masked_fill(hidden, float("-inf")), partner)


def masked_words(scores: Tensor, words: Tensor) -> Tensor:
    """Cross entropy of (M, V) scores against (M,) words, those of -100 left out (words that no training text has); 0
    where none is left."""
    return functional.cross_entropy(scores.float(), words) if (words >= 0).any() else scores.sum().float() * 0


def masked_regions(predicted: Tensor, features: Tensor) -> Tensor:
    """Mean squared error of (M, W) predictions; 0 where M is 0."""
    return functional.mse_loss(predicted.float(), features.float()) if len(features) else predicted.sum().float() * 0


def _fit(pictures: Tensor, texts: Tensor, same: Tensor) -> None:
    if pictures.shape != texts.shape or same.shape != (len(pictures), len(pictures)):
        raise ValueError(
            f"pictures {tuple(pictures.shape)}, texts {tuple(texts.shape)}, same {tuple(same.shape)}: "
            "the first two must be equal (B, D), the third (B, B)"
        )
