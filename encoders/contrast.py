"""The contrast of a batch, over all processes of a training: each sees the vectors of the others as negatives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, distributed
from torch.distributed.nn import functional as collective

from encoders.losses import info_nce, nt_xent

__all__ = ["Output", "contrast", "unchanged"]

Output = Callable[[Tensor], Tensor]  # what is made of the texts' vectors (B, dim) before the contrast
LOSSES = {"nt_xent": nt_xent, "info_nce": info_nce}


def contrast(kind: str, pictures: Tensor, texts: Tensor, scale: Tensor, identity: Tensor) -> Tensor:
    """The loss of that name on the whole batch.

    With P processes each holds a P-th of the batch; vectors are gathered with their gradients, so that the mean of the
    processes' gradients is that of one process with the whole batch.

    Args:
        kind: "nt_xent" or "info_nce".
        pictures: (B, D), unit rows.
        texts: (B, D), unit rows.
        scale: scalar, one over the temperature.
        identity: (B, 2): items that share either number belong together (`encoders.data.identities`).
    """
    pictures, texts = pictures.float(), texts.float()  # under bf16: similarities need the digits
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        pictures, texts = (torch.cat(collective.all_gather(x.contiguous())) for x in (pictures, texts))
        others = [torch.empty_like(identity) for _ in range(distributed.get_world_size())]
        distributed.all_gather(others, identity.contiguous())
        identity = torch.cat(others)
    same = (identity[:, None] == identity[None]).any(dim=2)
    with torch.autocast(pictures.device.type, enabled=False):
        return LOSSES[kind](pictures, texts, scale.float(), same)


def unchanged(texts: Tensor) -> Tensor:
    """The `Output` of an encoder that stands by itself."""
    return texts
