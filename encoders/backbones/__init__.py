"""Frozen backbones: what turns pictures and texts into tokens before anything of ours is trained."""

from __future__ import annotations

from encoders.backbones.base import PictureBackbone, TextBackbone, TextTokens, weights_hash
from encoders.backbones.pictures import picture_backbone
from encoders.backbones.texts import text_backbone

__all__ = ["PictureBackbone", "TextBackbone", "TextTokens", "picture_backbone", "text_backbone", "weights_hash"]
