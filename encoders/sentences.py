"""Sentence vectors for entities: MiniLM, mean over its tokens, as sentence-transformers computes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from encoders.backbones import text_backbone
from encoders.device import choose_device

__all__ = ["sentence_vectors"]


def sentence_vectors(texts: Sequence[str], *, device: str = "auto", batch: int = 128) -> NDArray[np.float32]:
    """(N, 384) float32, unit rows, in the order given; texts of like length share a batch."""
    backbone = text_backbone("minilm", places=128, device=choose_device(device))
    out = np.empty((len(texts), backbone.width), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        features, mask = backbone.tokens([texts[i] for i in rows])
        weight = mask[:, :, None].to(features.dtype)
        mean = (features * weight).sum(dim=1) / weight.sum(dim=1)
        out[rows] = functional.normalize(mean, dim=-1).cpu().numpy()
    return out
