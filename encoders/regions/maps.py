"""Backbone tokens as the feature maps they were."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from encoders.backbones.base import PictureBackbone

__all__ = ["feature_maps", "region_width"]


def feature_maps(backbone: PictureBackbone, tokens: Tensor) -> list[Tensor]:
    """Splits tokens into the maps of `backbone.parts`.

    Args:
        backbone: what the tokens are of.
        tokens: (B, places, width). The places that are left over before the largest square (a class token, registers
            of a ViT) belong to no part of the picture and are dropped.

    Returns:
        A map for each part, (B, C, n s, n s) where the picture has s x s tokens.
    """
    side = math.isqrt(backbone.places)
    grid = tokens[:, backbone.places - side * side :].transpose(1, 2).unflatten(2, (side, side))
    pieces = torch.split(grid, [channels * n * n for channels, n in backbone.parts], dim=1)
    return [functional.pixel_shuffle(piece, n) for piece, (_, n) in zip(pieces, backbone.parts, strict=True)]


def region_width(backbone: PictureBackbone) -> int:
    """Length of a region's feature: the channels of all parts."""
    return sum(channels for channels, _ in backbone.parts)
