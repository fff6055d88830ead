"""The proposal network: objectness and a box at every place of the backbone's map, whatever the class.

Without anchors, as FCOS (Tian et al., ICCV 2019): a place in the middle of a product predicts how far away its four
sides are. The score is trained to be the IoU of the predicted box, by the quality focal loss of Li et al.,
"Generalized Focal Loss" (NeurIPS 2020, eq. 4), the sides by the GIoU loss (Rezatofighi et al., CVPR 2019). Each place
has one answer for each class of size, so that a small product before a large one does not displace it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from encoders.backbones.base import PictureBackbone
from encoders.protocol import Regions
from encoders.regions.boxes import clip, nms

__all__ = ["Predictions", "ProposalNetwork", "Targets", "assign", "build", "giou", "proposal_loss", "regions_of"]

GROUPS = 8
REACH = 0.5  # of a box, around its centre: the places that predict it
CANDIDATES = 400  # of a picture, for non-maximum suppression
LEAST = 1e-3  # of a side of the picture: what is thinner after clipping shows nothing
RARE = -4.0  # objectness before training: hardly any place shows a product's centre


class Predictions(NamedTuple):
    """At S scales, in a grid of h x w places: `objectness` (B, S, h, w) logits, `boxes` (B, S, h, w, 4) in fractions of
    the picture, not clipped."""

    objectness: Tensor
    boxes: Tensor


class Targets(NamedTuple):
    """What each place should say: `positive` (B, S, h, w) bool, `boxes` (B, S, h, w, 4) in fractions, 0 elsewhere."""

    positive: Tensor
    boxes: Tensor


class ProposalNetwork(nn.Module):
    """A few convolutions over the backbone's feature maps.

    Args:
        channels: of each map.
        finer: of each map: how many times more places it has on a side than the coarsest.
        width: channels inside.
        scales: sides (square root of the area, as a fraction of the picture) that part the classes of size.
        upsample: how many times more places a side of the output has than the finest map.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        finer: Sequence[int],
        width: int = 128,
        scales: Sequence[float] = (0.25,),
        upsample: int = 1,
    ) -> None:
        super().__init__()
        self.finest, self.upsample, self.number = max(finer) * upsample, upsample, len(scales) + 1
        self.finer = tuple(finer)
        self.entries = nn.ModuleList(
            nn.Sequential(_ChannelNorm(number), nn.Conv2d(number, width, 1)) for number in channels
        )
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in (1, 2, 4, 1))
        self.objectness = nn.Conv2d(width, self.number, 1)
        self.sides = nn.Conv2d(width, 4 * self.number, 1)
        nn.init.normal_(self.objectness.weight, std=0.01)
        assert self.objectness.bias is not None
        nn.init.constant_(self.objectness.bias, RARE)
        nn.init.normal_(self.sides.weight, std=0.01)
        usual = torch.tensor([(a * b) ** 0.5 / 2 for a, b in pairwise([0.08, *scales, 0.6])])
        self.register_buffer("usual", usual.log())  # half a side, about: where training starts

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps (B, C_i, h_i, w_i) of the same pictures."""
        coarsest = min(part.shape[2] for part in maps), min(part.shape[3] for part in maps)
        size = coarsest[0] * self.finest, coarsest[1] * self.finest
        x: Tensor | None = None
        for entry, part in zip(self.entries, maps, strict=True):
            y = entry(part)
            if y.shape[2:] != size:
                y = functional.interpolate(y, size, mode="bilinear")
            x = y if x is None else x + y
        assert x is not None
        for block in self.blocks:
            x = block(x)
        sides = self.sides(x).float().unflatten(1, (self.number, 4)).permute(0, 1, 3, 4, 2)
        usual: Tensor = self.usual  # type: ignore[assignment]
        sides = torch.exp((sides + usual[:, None, None, None]).clamp(-7, 1))
        centres = _centres(*size, device=x.device)
        boxes = torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=-1)
        return Predictions(self.objectness(x).float(), boxes)


def build(backbone: PictureBackbone, network: Mapping[str, Any]) -> ProposalNetwork:
    """A network over the maps of a backbone; `network`: width, scales and upsample, see `ProposalNetwork`."""
    channels, finer = zip(*backbone.parts, strict=True)
    return ProposalNetwork(channels=channels, finer=finer, **network)


class _ChannelNorm(nn.Module):
    """Layer norm of each place over its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Residual, pre-norm."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.conv = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(functional.gelu(self.norm(x)))


def _centres(height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Centres of the places, x and y in fractions, (h, w, 2)."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def assign(boxes: Sequence[NDArray[np.float32]], scales: Sequence[float], height: int, width: int) -> Targets:
    """Which places should predict which box.

    A box belongs to the class of its size; its places are those in the middle of it (half its sides), at least the one
    nearest to its centre. Where several claim a place, the smallest has it.

    Args:
        boxes: (N_i, 4) of each picture, in fractions.
        scales: as `ProposalNetwork`.
        height: of the grid.
        width: of the grid.
    """
    shape = len(boxes), len(scales) + 1, height, width
    positive, target = np.zeros(shape, bool), np.zeros((*shape, 4), np.float32)
    y, x = ((np.arange(number) + 0.5) / number for number in (height, width))
    for n, of_picture in enumerate(boxes):
        sides = of_picture[:, 2:] - of_picture[:, :2]
        areas = sides.prod(axis=1)
        for i in np.argsort(-areas, kind="stable"):  # the smallest last: it writes over the others
            scale = int(np.searchsorted(scales, np.sqrt(areas[i])))
            (cx, cy), (wide, high) = (of_picture[i, :2] + of_picture[i, 2:]) / 2, sides[i] * REACH / 2
            near_x, near_y = np.abs(x - cx) <= wide, np.abs(y - cy) <= high
            near_x[np.abs(x - cx).argmin()] = near_y[np.abs(y - cy).argmin()] = True
            places = np.ix_(near_y, near_x)
            positive[n, scale][places] = True
            target[n, scale][places] = of_picture[i]
    return Targets(torch.from_numpy(positive), torch.from_numpy(target))


def giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes in pairs, (N, 4) and (N, 4) to (N,) and (N,)."""

    def sizes(low: Tensor, high: Tensor) -> Tensor:
        return (high - low).clamp(min=0).prod(dim=-1)

    common = sizes(torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:]))
    joint = sizes(a[:, :2], a[:, 2:]) + sizes(b[:, :2], b[:, 2:]) - common
    hull = sizes(torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:]))
    iou = common / joint.clamp(min=1e-9)
    return iou, iou - (hull - joint) / hull.clamp(min=1e-9)


def proposal_loss(found: Predictions, wanted: Targets) -> Tensor:
    """Quality focal loss of the objectness plus twice the GIoU loss of the boxes, both per positive place."""
    positive = wanted.positive
    number = positive.sum().clamp(min=1)
    iou, generalised = giou(found.boxes[positive], wanted.boxes[positive])
    quality = torch.zeros_like(found.objectness)
    quality[positive] = iou.detach()
    cross = functional.binary_cross_entropy_with_logits(found.objectness, quality, reduction="none")
    focal = ((quality - found.objectness.sigmoid()).abs() ** 2 * cross).sum() / number
    return focal + 2 * (1 - generalised).sum() / number


def regions_of(found: Predictions, sizes: Sequence[tuple[int, int]], *, limit: int, threshold: float) -> list[Regions]:
    """The best boxes of each picture.

    Args:
        found: for B pictures.
        sizes: width and height of each in pixels.
        limit: most boxes of a picture.
        threshold: of non-maximum suppression.
    """
    out = []
    scores_of = found.objectness.sigmoid().flatten(1).cpu().numpy()
    boxes_of = found.boxes.flatten(1, 3).cpu().numpy()
    for scores, boxes, (width, height) in zip(scores_of, boxes_of, sizes, strict=True):
        cut = clip(boxes, 1, 1)
        fit = np.flatnonzero((cut[:, 2:] - cut[:, :2] > LEAST).all(axis=1))
        best = fit[np.argsort(-scores[fit], kind="stable")[:CANDIDATES]]
        kept = best[nms(cut[best], scores[best], threshold)[:limit]]
        out.append(Regions(cut[kept] * np.array([width, height] * 2, np.float32), scores[kept]))
    return out
