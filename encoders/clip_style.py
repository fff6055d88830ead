"""`clip_style`, the baseline: two small transformers over frozen backbone tokens, trained with symmetric InfoNCE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.backbones import TextBackbone
from encoders.contrast import Output, contrast, unchanged
from encoders.dual import DualEncoder, open_dual
from encoders.looking import Look
from encoders.masking import Rates
from encoders.tables import Batch
from encoders.transformers import Layer, run_layers
from kg.errors import BadInput

__all__ = ["ClipStyle", "Tower", "build", "load_encoder"]


class Tower(nn.Module):
    """Tokens of one picture or text to one unit vector: a transformer whose first token asks for the summary.

    Args:
        inside: width of the backbone's tokens.
        places: longest sequence of tokens.
        width: width of the transformer.
        layers: depth of the transformer.
        heads: attention heads; must divide `width`.
        dim: length of the vector.
        dropout: in the transformer and on its input, in training only.
        drop_tokens: share of the tokens hidden from each example, in training only.
    """

    def __init__(
        self,
        *,
        inside: int,
        places: int,
        width: int,
        layers: int,
        heads: int,
        dim: int,
        dropout: float = 0.0,
        drop_tokens: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads or layers < 1:
            raise ValueError(f"width ({width}) must be divisible by heads ({heads}), layers ({layers}) at least 1")
        self.drop_tokens = drop_tokens
        self.entry = nn.Sequential(nn.LayerNorm(inside), nn.Linear(inside, width))
        self.place = nn.Parameter(torch.randn(places, width) * 0.02)
        self.summary = nn.Parameter(torch.randn(width) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, heads, dropout=dropout) for _ in range(layers))
        self.exit = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim, bias=False))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, N, inside), mask (B, N) true where there is a token, to (B, dim)."""
        x = self.dropout(self.entry(tokens) + self.place[: tokens.shape[1]])
        x = torch.cat([self.summary.expand(len(x), 1, -1), x], dim=1)
        if self.training and self.drop_tokens:
            mask = mask & (torch.rand(mask.shape, device=mask.device) >= self.drop_tokens)
        mask = torch.cat([mask.new_ones(len(x), 1), mask], dim=1)
        x = run_layers(self.layers, x, mask, first=True)
        return functional.normalize(self.exit(x[:, 0]).float(), dim=-1)


class ClipStyle(nn.Module):
    """Both towers and the learned scale of the loss.

    Args:
        picture: arguments of the picture `Tower`.
        text: arguments of the text `Tower`.
        temperature: at the start; its inverse stays between 1 and 100, as in CLIP.
    """

    def __init__(
        self, *, picture: dict[str, int | float], text: dict[str, int | float], temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.picture, self.text = Tower(**picture), Tower(**text)  # type: ignore[arg-type]
        self.rates: Rates | None = None
        self.twins = False
        self.item, self.item_text = "sum", 1.0
        self.initialised: list[nn.Parameter] = []  # nothing starts from a trained model
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def start(self, pictures: Tensor, mask: Tensor, words: Tensor) -> None:
        """Nothing to learn before the first step."""

    def forward(self, batch: Batch, output: Output = unchanged) -> dict[str, Tensor]:
        """The loss of one batch, by name; `output` changes the texts' vectors before they meet the pictures'."""
        pictures, texts = self.vectors(batch)
        return {"info_nce": contrast("info_nce", pictures, output(texts), self.scale, batch.identity)}

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, dim) of the pictures and of the texts."""
        return (
            self.picture_vectors(batch.pictures, batch.boxes, batch.picture_mask),
            self.text_vectors(batch.texts, batch.text_mask),
        )

    def picture_vectors(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        """(B, R, W), (B, R, 5), (B, R) to (B, dim), unit rows. Where a token lies, its place among the others says."""
        return self.picture(pictures, mask)

    def text_vectors(self, texts: Tensor, mask: Tensor) -> Tensor:
        """(B, T, V), (B, T) to (B, dim), unit rows."""
        return self.text(texts, mask)

    @property
    def scale(self) -> Tensor:
        """One over the temperature."""
        return self.log_scale.clamp(0, math.log(100)).exp()


def build(config: Mapping[str, Any], picture: Look, text: TextBackbone) -> ClipStyle:
    """A model with new weights, from the "model" part of a config.

    Raises:
        BadInput: the config does not fit.
    """
    model = dict(config["model"])
    try:
        shared = {name: model.pop(name) for name in ("width", "layers", "heads", "dim", "dropout")}
        drop_picture, drop_text = model.pop("drop_picture_tokens"), model.pop("drop_text_tokens")
        return ClipStyle(
            picture={**shared, "inside": picture.width, "places": picture.places, "drop_tokens": drop_picture},
            text={**shared, "inside": text.width, "places": text.places, "drop_tokens": drop_text},
            **model,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the model part of the config does not fit: {error}", hint="see encoders/configs") from error


def load_encoder(
    folder: Path, *, device: str, cache: Path | None = None, cache_gb: float = 8.0, batch: int = 64
) -> DualEncoder:
    """Opens a checkpoint; see `encoders.load`."""
    return open_dual(build, folder, device=device, cache=cache, cache_gb=cache_gb, batch=batch)
