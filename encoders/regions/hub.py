"""An object detector of transformers (DETR, YOLOS, RT-DETR, …) as a source of regions; its classes do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from encoders.backbones.base import weights_hash
from encoders.protocol import Regions
from encoders.regions.boxes import clip, nms
from kg.errors import NotFound

__all__ = ["HubDetector"]

THRESHOLD = 0.6  # of non-maximum suppression over all classes
LEAST = 1e-3  # of a side of the picture
USUAL: dict[str, Any] = {  # of ImageNet
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 1 / 255,
    "do_normalize": True,
}


class HubDetector:
    """Each picture is a batch of its own: they differ in shape. Its preprocessing is done here, since that of
    transformers may ask for torchvision.

    Args:
        name: of the hub, or a folder.
        device: of torch.

    Raises:
        NotFound: there is no such model, or it detects no objects.
    """

    backbone: str | None = None

    def __init__(self, name: str, *, device: str = "cpu") -> None:
        from transformers import AutoModelForObjectDetection
        from transformers.image_processing_base import ImageProcessingMixin
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        try:
            self.model = AutoModelForObjectDetection.from_pretrained(name).eval().requires_grad_(False).to(device)
        except (OSError, ValueError, ImportError) as error:
            raise NotFound(
                f"detector {name!r} cannot be opened: {str(error).splitlines()[0]}",
                hint="a folder that `train_detector` wrote, an object detection model of transformers, or grid",
            ) from error
        try:
            rules, _ = ImageProcessingMixin.get_image_processor_dict(name)
        except OSError:  # a model saved without them
            rules = {}
        self.rules = {**USUAL, **{key: rules[key] for key in (*USUAL, "size") if rules.get(key) is not None}}
        self.name, self.device = name if not Path(name).exists() else Path(name).name, device
        self.fingerprint = weights_hash(self.model.state_dict(), "bicubic", str(sorted(self.rules.items())))

    @torch.inference_mode()
    def propose(
        self, images: Sequence[Image], *, limit: int = 36, tokens: NDArray[np.float16] | None = None
    ) -> list[Regions]:
        return [self._one(image, limit) for image in images]

    def _one(self, image: Image, limit: int) -> Regions:
        found = self.model(pixel_values=self._pixels(image))
        logits = found.logits[0].float()
        # DETR keeps a last class for "nothing" and is read by softmax; its successors by sigmoid, without that class.
        if logits.shape[-1] == self.model.config.num_labels + 1:
            scores = logits.softmax(-1)[:, :-1].amax(-1)
        else:
            scores = logits.sigmoid().amax(-1)
        centre, extent = found.pred_boxes[0].float().split(2, dim=-1)
        shares = clip(torch.cat([centre - extent / 2, centre + extent / 2], dim=-1).cpu().numpy(), 1, 1)
        rated = scores.cpu().numpy()
        fit = np.flatnonzero((shares[:, 2:] - shares[:, :2] > LEAST).all(axis=1))
        kept = fit[nms(shares[fit], rated[fit], THRESHOLD)[:limit]]
        return Regions(shares[kept] * np.array([*image.size, *image.size], np.float32), rated[kept])

    def _pixels(self, image: Image) -> torch.Tensor:
        """(1, 3, h, w)."""
        resized = image.convert("RGB").resize(self._size(*image.size), Resampling.BICUBIC, reducing_gap=3.0)
        values = np.asarray(resized, np.float32) * np.float32(self.rules["rescale_factor"])
        if self.rules["do_normalize"]:
            values = np.subtract(values, self.rules["image_mean"], dtype=np.float32)
            values = np.divide(values, self.rules["image_std"], dtype=np.float32)
        return torch.from_numpy(values).permute(2, 0, 1)[None].to(self.device)

    def _size(self, width: int, height: int) -> tuple[int, int]:
        wanted = self.rules.get("size")
        if not isinstance(wanted, dict):
            fixed = getattr(self.model.config, "image_size", None) or 640
            high, wide = (fixed, fixed) if isinstance(fixed, int) else fixed
            return wide, high
        if "height" in wanted:
            return wanted["width"], wanted["height"]
        scale = wanted.get("shortest_edge", 800) / min(width, height)
        scale = min(scale, wanted.get("longest_edge", 1333) / max(width, height))
        # A line of pixels would shrink to nothing: no side below a patch or two.
        return max(32, round(width * scale)), max(32, round(height * scale))
