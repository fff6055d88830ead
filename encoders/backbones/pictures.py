"""Picture backbones by name: the packaged EfficientNet-Lite0, or any vision model that transformers loads."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image, Resampling
from torch import Tensor, nn

from encoders.backbones.base import PictureBackbone, weights_hash
from encoders.backbones.efficientnet import FINE_CHANNELS, HEAD, EfficientNetLite0, fold, packaged_weights
from kg.errors import BadInput

__all__ = ["picture_backbone"]


@lru_cache(maxsize=4)
def picture_backbone(name: str, *, size: int = 160, device: str = "cpu") -> PictureBackbone:
    """Loads a frozen backbone, once a process.

    Args:
        name: "efficientnet_lite0", or the name or folder of a vision model of transformers (CLIP, SigLIP, DINO, ViT).
        size: side of the square that pictures are resized to, in pixels.
        device: of torch.

    Raises:
        BadInput: the size does not fit the model.
    """
    if name == "efficientnet_lite0":
        return _Lite0(size, torch.device(device))
    return _Hub(name, size, torch.device(device))


def _square(image: Image, size: int) -> NDArray[np.uint8]:
    # Reduce first: a photo of 20 megapixels is brought near the target by box averaging, several times faster.
    return np.array(image.convert("RGB").resize((size, size), Resampling.BICUBIC, reducing_gap=3.0))


class _Lite0:
    def __init__(self, size: int, device: torch.device) -> None:
        if size % 32 or size <= 0:
            raise BadInput(f"picture size {size}: efficientnet_lite0 takes multiples of 32 pixels")
        state = fold(torch.load(packaged_weights(), map_location="cpu", weights_only=True))
        self.size, self.places, self.width, self.device = size, (size // 32) ** 2, EfficientNetLite0.width, device
        self.parts: tuple[tuple[int, int], ...] = ((HEAD, 1), (FINE_CHANNELS, 2))
        self.fingerprint = weights_hash(state, f"bicubic {size}, -1 … 1")
        model = EfficientNetLite0().eval().requires_grad_(False)
        model.load_state_dict(state)
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pixels(self, image: Image) -> NDArray[np.uint8]:
        return _square(image, self.size)

    @torch.inference_mode()
    def tokens(self, pixels: NDArray[np.uint8]) -> Tensor:
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float().sub_(127).div_(128)
        return self.model(x.contiguous(memory_format=torch.channels_last))


class _Hub:
    def __init__(self, name: str, size: int, device: torch.device) -> None:
        from transformers import AutoImageProcessor, AutoModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        processor = AutoImageProcessor.from_pretrained(name)
        model: nn.Module = AutoModel.from_pretrained(name)
        model = getattr(model, "vision_model", model).eval().requires_grad_(False).to(device)  # CLIP-like: this half
        self.model, self.size, self.device = model, size, device
        self.mean = torch.tensor(processor.image_mean, device=device)[:, None, None] * 255
        self.deviation = torch.tensor(processor.image_std, device=device)[:, None, None] * 255
        self.fingerprint = weights_hash(
            model.state_dict(), f"bicubic {size}, {processor.image_mean}, {processor.image_std}"
        )
        try:
            shape = self.tokens(np.zeros((1, size, size, 3), np.uint8)).shape
        except (ValueError, RuntimeError) as error:
            raise BadInput(f"picture size {size}: {name} does not take it ({error})") from error
        self.places, self.width = shape[1], shape[2]
        self.parts: tuple[tuple[int, int], ...] = ((self.width, 1),)

    def pixels(self, image: Image) -> NDArray[np.uint8]:
        return _square(image, self.size)

    @torch.inference_mode()
    def tokens(self, pixels: NDArray[np.uint8]) -> Tensor:
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()
        hidden = self.model(pixel_values=(x - self.mean) / self.deviation).last_hidden_state.float()
        return hidden if hidden.ndim == 3 else hidden.flatten(2).transpose(1, 2)  # convolutional models: (B, C, H, W)
