"""The detector that `train_detector` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from encoders import checkpoint
from encoders.backbones import picture_backbone
from encoders.features import picture_tokens
from encoders.protocol import Regions
from encoders.regions.maps import feature_maps
from encoders.regions.proposals import build, regions_of
from kg.errors import BadInput, EncoderMismatch

__all__ = ["ProposalDetector"]

BATCH = 32


class ProposalDetector:
    """The proposal network with the backbone it was trained over.

    Args:
        folder: a detector's checkpoint.
        device: of torch.

    Raises:
        NotFound: no checkpoint.
        BadInput: a broken one, or one of something else.
        EncoderMismatch: the backbone is not the one it was trained over.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        config, weights = checkpoint.read(folder)
        if config["encoder"] != "proposals":
            raise BadInput(f"{folder} holds an encoder, {config['encoder']!r}, not a detector")
        picture = config["picture"]
        self.picture = picture_backbone(picture["backbone"], size=picture["size"], device=device)
        if self.picture.fingerprint != picture["fingerprint"]:
            raise EncoderMismatch(
                f"{folder}: trained over {picture['backbone']} {picture['fingerprint'][:10]}…, "
                f"this machine has {self.picture.fingerprint[:10]}…",
                hint="install the same weights, or train the detector again",
            )
        network = build(self.picture, config["network"])
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise BadInput(f"{folder}: the weights do not fit the config ({error})", hint="train it again") from error
        self.network = network.eval().requires_grad_(False).to(device)
        self.name, self.backbone, self.device = "proposals", self.picture.fingerprint, device
        self.fingerprint = checkpoint.fingerprint(config, weights)
        self.threshold = float(config["proposals"]["threshold"])

    @torch.inference_mode()
    def propose(
        self, images: Sequence[Image], *, limit: int = 36, tokens: NDArray[np.float16] | None = None
    ) -> list[Regions]:
        out: list[Regions] = []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            seen = picture_tokens(self.picture, part) if tokens is None else tokens[start : start + BATCH]
            maps = feature_maps(self.picture, torch.from_numpy(seen).to(self.device).float())
            out += regions_of(self.network(maps), [image.size for image in part], limit=limit, threshold=self.threshold)
        return out
