"""Small batches drawn by hand: random regions and words, no backbone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from encoders.masking import Rates
from encoders.tables import Batch

__all__ = ["REGIONS", "TEXT", "VOCABULARY", "WIDE", "WORDS", "Words", "make_batch", "with_masked"]

REGIONS, WORDS, WIDE, TEXT, VOCABULARY = 6, 7, 20, 16, 50
CLS, SEP, PAD, MASK = 1, 2, 0, 3
ORDINARY = torch.arange(4, VOCABULARY)


@dataclass
class Words:
    """A text model of two tables, words and places: what a batch needs of a text backbone."""

    words: Tensor = field(
        default_factory=lambda: torch.randn(VOCABULARY, TEXT, generator=torch.Generator().manual_seed(7))
    )
    width: int = TEXT
    places: int = WORDS
    vocabulary: Tensor = field(default_factory=lambda: ORDINARY)
    mask_id: int = MASK
    upper: tuple[dict[str, Tensor], ...] = ()

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.words[ids] + 0.5 * torch.randn(ids.shape[1], TEXT, generator=torch.Generator().manual_seed(8))


def make_batch(size: int = 8, *, seed: int = 0) -> Batch:
    """Items of random regions and words; the last has one region and two words less."""
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(size, REGIONS, 2, generator=draw) * 0.5
    boxes = torch.cat([corners, corners + 0.5, torch.full((size, REGIONS, 1), 0.25)], dim=2)
    boxes[:, 0] = torch.tensor([0, 0, 1, 1, 1.0])
    words = ORDINARY[torch.randint(len(ORDINARY), (size, WORDS), generator=draw)]
    words[:, 0], words[:, -1] = CLS, SEP
    picture_mask, text_mask = torch.ones(size, REGIONS).bool(), torch.ones(size, WORDS).bool()
    picture_mask[-1, -1], text_mask[-1, -2:] = False, False
    words[-1, -3], words[-1, -2:] = SEP, PAD
    pictures = torch.randn(size, REGIONS, WIDE, generator=draw) * picture_mask[:, :, None]
    identity = torch.arange(size)[:, None].repeat(1, 2)
    return Batch(pictures, boxes, picture_mask, Words().hidden(words, text_mask), text_mask, identity, words)


def with_masked(batch: Batch, *, seed: int = 0, rates: Rates | None = None) -> Batch:
    """Parts hidden as in training."""
    from encoders.preparing import masked

    return masked(batch, Words(), rates or Rates(), torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
