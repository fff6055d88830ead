"""Detectors by name: where products may be, whatever they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders import checkpoint
from encoders.device import choose_device
from encoders.protocol import Regions
from encoders.regions.hub import HubDetector
from encoders.regions.own import ProposalDetector
from encoders.regions.training import DetectorReport, train_detector

__all__ = ["Detector", "DetectorReport", "GridDetector", "load_detector", "train_detector"]


class Detector(Protocol):
    """Finds regions that may hold a product.

    Attributes:
        name: "grid", or what was opened.
        fingerprint: hash of all that the regions depend on.
        backbone: fingerprint of the picture backbone whose tokens it reads; None where it reads the pictures itself.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def backbone(self) -> str | None: ...

    def propose(
        self, images: Sequence[Image], *, limit: int = 36, tokens: NDArray[np.float16] | None = None
    ) -> list[Regions]:
        """At most `limit` regions of each picture, best first; the first of a longer list are the shorter list.

        Args:
            images: RGB, of any size.
            limit: most regions of a picture.
            tokens: (N, places, width), what the backbone of this very fingerprint gives for these pictures, where the
                caller has them already.
        """
        ...


@dataclass(frozen=True)
class GridDetector:
    """Sliding windows, alike for every picture: the control that has learned nothing.

    Windows of 1, 1/2, 1/3, … of the picture's width and height, half overlapping, the large ones first:
    1 + 9 + 25 + 49 = 84 for four sizes.
    """

    sizes: int = 4
    name: str = "grid"
    backbone: str | None = None

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"grid {self.sizes}".encode()).hexdigest()

    def propose(
        self, images: Sequence[Image], *, limit: int = 36, tokens: NDArray[np.float16] | None = None
    ) -> list[Regions]:
        shares = [
            (x / (2 * n), y / (2 * n), (x + 2) / (2 * n), (y + 2) / (2 * n))
            for n in range(1, self.sizes + 1)
            for y in range(2 * n - 1)
            for x in range(2 * n - 1)
        ]
        windows = np.array(shares[:limit], np.float32).reshape(-1, 4)
        scores = np.linspace(1, 0, len(windows), endpoint=False, dtype=np.float32)
        return [Regions(windows * np.array([*image.size, *image.size], np.float32), scores) for image in images]


def load_detector(name: str | Path, *, device: str = "auto") -> Detector:
    """Opens a detector.

    Args:
        name: a folder that `train_detector` wrote; "grid"; or the name or folder of an object detection model of
            transformers (DETR, YOLOS, RT-DETR, …).
        device: auto, cpu, cuda, …

    Raises:
        NotFound: there is none of this name.
        BadInput: a folder that is broken, or that holds something else.
        BadSetting: a device that cannot be used.
        EncoderMismatch: the backbone is not the one it was trained over.
    """
    if str(name) == "grid":
        return GridDetector()
    where = choose_device(device)
    if (Path(name) / checkpoint.FINGERPRINT).is_file():
        return ProposalDetector(Path(name), device=where)
    return HubDetector(str(name), device=where)
