"""A trained pair of towers as an `Encoder`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor, nn

from encoders.backbones import PictureBackbone, TextBackbone
from encoders.features import FeatureCache, picture_tokens

__all__ = ["DualEncoder"]


@dataclass(frozen=True)
class DualEncoder:
    """Two towers over two frozen backbones; `kg` and its friends see it as `encoders.protocol.Encoder`.

    Attributes:
        folder: of the checkpoint it was opened from.
        picture_tower: tokens, mask to unit vectors.
        text_tower: tokens, mask to unit vectors.
        batch: pictures or texts in one forward pass.
    """

    name: str
    dim: int
    fingerprint: str
    folder: Path
    device: str
    picture_backbone: PictureBackbone
    text_backbone: TextBackbone
    picture_tower: nn.Module
    text_tower: nn.Module
    cache: FeatureCache | None = None
    batch: int = 64

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        def vectors(rows: slice) -> Tensor:
            found = picture_tokens(self.picture_backbone, images[rows], cache=self.cache, batch=self.batch)
            tokens = torch.from_numpy(found).to(self.device).float()
            return self.picture_tower(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=self.device))

        return self._joined(vectors(rows) for rows in self._slices(len(images)))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # Texts of like length share a batch: less padding to compute.
        order = np.argsort([len(text) for text in texts], kind="stable")
        out = np.empty((len(texts), self.dim), np.float32)
        for rows in self._slices(len(texts)):
            found = self.text_backbone.tokens([texts[i] for i in order[rows]])
            out[order[rows]] = self.text_tower(*found).float().cpu().numpy()
        return out

    def encode_items(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float32]:
        """The direction halfway between the picture's vector and the text's."""
        both = self.encode_images(images) + self.encode_texts(texts)
        return both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)

    def save_pretrained(self, folder: Path) -> None:
        """Copies the checkpoint."""
        if folder.absolute() != self.folder.absolute():
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def _slices(self, count: int) -> Iterator[slice]:
        return (slice(start, start + self.batch) for start in range(0, count, self.batch))

    def _joined(self, parts: Iterator[Tensor]) -> NDArray[np.float32]:
        return np.concatenate([np.empty((0, self.dim), np.float32), *(part.float().cpu().numpy() for part in parts)])
