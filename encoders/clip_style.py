"""`clip_style`, the baseline: two small transformers over frozen backbone tokens, trained with symmetric InfoNCE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders import checkpoint
from encoders.backbones import PictureBackbone, TextBackbone, picture_backbone, text_backbone
from encoders.dual import DualEncoder
from encoders.features import FeatureCache
from encoders.losses import info_nce
from encoders.tables import Batch
from kg.errors import BadInput, EncoderMismatch

__all__ = ["ClipStyle", "Tower", "build", "load_encoder"]


class _Layer(nn.Module):
    """Pre-norm transformer layer, for the first `queries` tokens only where the rest is not needed any more."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.drop = heads, dropout
        self.before, self.ask, self.tell = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.merge = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, mask: Tensor, queries: int) -> Tensor:
        """(B, N, width), mask (B, N) true where there is a token, to (B, queries, width)."""
        normed = self.before(x)
        query = self._split(self.ask(normed[:, :queries]))
        key, value = map(self._split, self.tell(normed).chunk(2, dim=-1))
        drop = self.drop if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, mask[:, None, None, :], dropout_p=drop)
        x = x[:, :queries] + self.merge(seen.transpose(1, 2).flatten(2))
        return x + self.think(x)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


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
        self.layers = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(layers))
        self.exit = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim, bias=False))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, N, inside), mask (B, N) true where there is a token, to (B, dim)."""
        x = self.dropout(self.entry(tokens) + self.place[: tokens.shape[1]])
        x = torch.cat([self.summary.expand(len(x), 1, -1), x], dim=1)
        if self.training and self.drop_tokens:
            mask = mask & (torch.rand(mask.shape, device=mask.device) >= self.drop_tokens)
        mask = torch.cat([mask.new_ones(len(x), 1), mask], dim=1)
        for layer in self.layers[:-1]:
            x = layer(x, mask, queries=x.shape[1])
        return functional.normalize(self.exit(self.layers[-1](x, mask, queries=1)[:, 0]), dim=-1)


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
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def loss(self, batch: Batch) -> Tensor:
        """Of one batch, a scalar."""
        return info_nce(*self.vectors(batch), self.scale, batch.same)

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, dim) of the pictures and of the texts."""
        return (
            self.picture(batch.pictures, batch.picture_mask),
            self.text(batch.texts, batch.text_mask),
        )

    @property
    def scale(self) -> Tensor:
        """One over the temperature."""
        return self.log_scale.clamp(0, math.log(100)).exp()


def build(config: Mapping[str, Any], picture: PictureBackbone, text: TextBackbone) -> ClipStyle:
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
    config, weights = checkpoint.read(folder)
    lacking = sorted({"picture", "text", "model"} - set(config))
    if lacking:
        raise BadInput(f"{folder}: the config lacks {', '.join(lacking)}", hint="train it again")
    picture = picture_backbone(config["picture"]["backbone"], size=config["picture"]["size"], device=device)
    text = text_backbone(
        config["text"]["backbone"],
        places=config["text"]["places"],
        device=device,
        tokenizer=str(folder / checkpoint.TOKENIZER),
    )
    for kind, backbone in (("picture", picture), ("text", text)):
        if backbone.fingerprint != config[kind]["fingerprint"]:
            raise EncoderMismatch(
                f"{folder} was trained on {kind} backbone {config[kind]['backbone']} with fingerprint "
                f"{config[kind]['fingerprint'][:10]}…, here it has {backbone.fingerprint[:10]}…",
                hint="install the version it was trained with, or train again",
            )
    model = build(config, picture, text)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise BadInput(f"{folder}: the weights do not fit the config: {error}", hint="train it again") from error
    model.eval().requires_grad_(False).to(device)
    return DualEncoder(
        config["encoder"],
        config["model"]["dim"],
        checkpoint.fingerprint(config, weights),
        folder,
        device,
        picture,
        text,
        model.picture,
        model.text,
        FeatureCache.at(cache, cache_gb) if cache else None,
        batch,
    )
