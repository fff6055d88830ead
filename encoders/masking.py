"""What masked modelling hides (papers: BERT, NAACL 2019; CAPTURE, ICCV 2021, section 1.6 of its digest).

Words: 15 % of a batch's words are asked for; of these 80 % become [MASK], 10 % another word, 10 % stay as they are.
Regions: 15 % of the regions; of these 90 % become zeros, 10 % stay. The frozen text model reads the masked words, so
that the tokens of their neighbours do not tell them. The global token of a masked picture is the mean of its masked
regions: pooled over the picture it would tell what is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["IGNORED", "Masked", "Rates", "global_token", "mask_regions", "mask_words"]

IGNORED = -100  # target of a word that is not asked for, as torch's cross entropy has it
MASKED, RANDOM = 0.8, 0.1  # of the words asked for
ZEROED = 0.9  # of the regions asked for


@dataclass(frozen=True)
class Rates:
    """Shares of words and of regions that a model wants hidden, 0 for none, of the items of a batch that it wants them
    hidden in; and whether the words that are hidden are hidden in the entity sentences too."""

    words: float = 0.15
    regions: float = 0.15
    items: float = 1.0
    entities: bool = False


@dataclass(frozen=True)
class Masked:
    """B items with parts hidden.

    Attributes:
        texts: (B, T, V) tokens of the frozen text model, which read the masked words.
        text_mask: (B, T).
        words: (B, T) int64, the word where it is asked for, else `IGNORED`.
        pictures: (B, R, W), hidden regions zero, row 0 the mean of the others.
        boxes: (B, R, 5).
        picture_mask: (B, R).
        regions: (B, R) bool, true where a region is asked for.
        features: (M, W), those of the M regions that are asked for.
        identity: (B, 2), as in the batch.
        entities: tokens (B, T, V), mask (B, T) and asked words (B, T) of the entity sentences, where there are such.
    """

    texts: Tensor
    text_mask: Tensor
    words: Tensor
    pictures: Tensor
    boxes: Tensor
    picture_mask: Tensor
    regions: Tensor
    features: Tensor
    identity: Tensor
    entities: tuple[Tensor, Tensor, Tensor] | None = None


def mask_words(
    ids: Tensor, words: Tensor, vocabulary: Tensor, mask_id: int, *, rate: float, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Masked ids (B, T) and targets (B, T), `IGNORED` where nothing is asked for.

    Args:
        ids: (B, T) int64.
        words: (B, T) bool, false for special tokens and padding: these are never asked for.
        vocabulary: (V,) ids that another word is drawn from.
        mask_id: of [MASK].
        rate: share of the words asked for; at least one in a batch that has words, none at 0.
        draw: a generator on the CPU.
    """
    chosen = _choose(words, rate, draw)
    fate = torch.rand(ids.shape, generator=draw).to(ids.device)
    other = vocabulary[torch.randint(len(vocabulary), ids.shape, generator=draw).to(vocabulary.device)].to(ids.device)
    masked = torch.where(chosen & (fate < MASKED), torch.full_like(ids, mask_id), ids)
    masked = torch.where(chosen & (fate >= MASKED) & (fate < MASKED + RANDOM), other, masked)
    return masked, torch.where(chosen, ids, torch.full_like(ids, IGNORED))


def mask_regions(pictures: Tensor, mask: Tensor, *, rate: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Masked features (B, R, W), and which regions are asked for (B, R).

    Args:
        pictures: (B, R, W); row 0 is the global token, never asked for, and becomes the mean of the masked regions.
        mask: (B, R) bool, true where there is a region.
        rate: share of the regions asked for; at least one in a batch that has regions, none at 0.
        draw: a generator on the CPU.
    """
    regions = mask.clone()
    regions[:, 0] = False
    chosen = _choose(regions, rate, draw)
    hidden = chosen & (torch.rand(mask.shape, generator=draw).to(mask.device) < ZEROED)
    masked = pictures.masked_fill(hidden[:, :, None], 0)
    if rate:
        masked[:, 0] = global_token(masked, mask)
    return masked, chosen


def global_token(pictures: Tensor, mask: Tensor) -> Tensor:
    """(B, W), the mean of each picture's regions; a picture without regions keeps the global token it has."""
    some = mask[:, 1:].to(pictures.dtype)
    count = some.sum(dim=1, keepdim=True)
    mean = torch.einsum("brw,br->bw", pictures[:, 1:], some) / count.clamp(min=1)
    return torch.where(count > 0, mean, pictures[:, 0])


def _choose(places: Tensor, rate: float, draw: torch.Generator) -> Tensor:
    """A share of the true places; at least one where there is any."""
    order = torch.rand(places.shape, generator=draw).to(places.device)
    if rate <= 0:
        return torch.zeros_like(places)
    chosen = places & (order < rate)
    if not chosen.any() and places.any():
        chosen.view(-1)[torch.where(places, order, 2.0).argmin()] = True
    return chosen
