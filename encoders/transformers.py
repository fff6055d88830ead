"""Layers that the towers share. Tokens are (B, N, width), masks (B, N), true where there is a token."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.backbones import TextBackbone

__all__ = ["CrossLayer", "Layer", "attend", "bert_layer", "copy_layers", "run_layers"]


def attend(query: Tensor, memory: Tensor, mask: Tensor, *, heads: int, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention of `heads` heads.

    Args:
        query: (B, Q, inner).
        memory: (B, N, 2 · inner), keys and values side by side.
        mask: (B, N); every example must have a token.
        heads: must divide `inner`.
        dropout: of the attention weights.
    """
    key, value = memory.chunk(2, dim=-1)
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    mask = mask[:, None, None, :]
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        seen = functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)
        return seen.transpose(1, 2).flatten(2)
    # On processors the backward pass of the fused kernel takes a third of a whole step of training.
    scores = (query @ key.transpose(2, 3)).float() * query.shape[-1] ** -0.5
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return (functional.dropout(weights, dropout) @ value).transpose(1, 2).flatten(2)


class _Think(nn.Module):
    """Feed-forward part: residual and norm, before it (`pre`) or after."""

    def __init__(self, width: int, hidden: int, dropout: float, *, pre: bool) -> None:
        super().__init__()
        self.pre, self.norm = pre, nn.LayerNorm(width)
        self.widen, self.narrow, self.drop = nn.Linear(width, hidden), nn.Linear(hidden, width), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x) if self.pre else x
        y = x + self.drop(self.narrow(functional.gelu(self.widen(y))))
        return y if self.pre else self.norm(y)


class Layer(nn.Module):
    """Transformer layer; with `pre` the norms stand before attention and feed-forward, else after (as in BERT).

    Args:
        width: of a token.
        heads: must divide `width`.
        hidden: width of the feed-forward part; four times `width` where it is left out.
        dropout: in training only.
        pre: where the norms stand.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, *, hidden: int = 0, dropout: float = 0.0, pre: bool = True) -> None:
        super().__init__()
        _fits(width, heads)
        self.heads, self.pre, self.norm = heads, pre, nn.LayerNorm(width)
        self.ask, self.tell, self.merge = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)
        self.think = _Think(width, hidden or 4 * width, dropout, pre=pre)

    def forward(self, x: Tensor, mask: Tensor, queries: int | None = None) -> Tensor:
        """(B, N, width) to (B, queries, width): the first tokens only, where the rest is not needed any more."""
        y = self.norm(x) if self.pre else x
        dropout = self.drop.p if self.training else 0.0
        seen = attend(self.ask(y[:, :queries]), self.tell(y), mask, heads=self.heads, dropout=dropout)
        x = x[:, :queries] + self.drop(self.merge(seen))
        return self.think(x if self.pre else self.norm(x))


class CrossLayer(nn.Module):
    """Co-attention of two streams (Lu et al., "ViLBERT", NeurIPS 2019; as CAPTURE uses it): each asks the other, then
    thinks with a feed-forward part of its own. Both read what the layer was given, not what the other has become.

    Args:
        width: of a token in both streams.
        heads: must divide `inner`.
        inner: width of the attention between the streams (`bi_hidden` of CAPTURE); `width` where it is left out.
        hidden: width of the feed-forward parts; four times `width` where it is left out.
        dropout: in training only.
        pre: where the norms stand, see `Layer`.

    Raises:
        ValueError: the heads do not divide the inner width.
    """

    def __init__(
        self, width: int, heads: int, *, inner: int = 0, hidden: int = 0, dropout: float = 0.0, pre: bool = True
    ) -> None:
        super().__init__()
        inner = inner or width
        _fits(inner, heads)
        self.heads, self.pre, self.drop = heads, pre, nn.Dropout(dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ask = nn.ModuleList(nn.Linear(width, inner) for _ in range(2))
        self.tell = nn.ModuleList(nn.Linear(width, 2 * inner) for _ in range(2))
        self.merge = nn.ModuleList(nn.Linear(inner, width) for _ in range(2))
        self.think = nn.ModuleList(_Think(width, hidden or 4 * width, dropout, pre=pre) for _ in range(2))

    def forward(self, a: Tensor, a_mask: Tensor, b: Tensor, b_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams, (B, N, width) and (B, M, width), after it."""
        streams, masks = (a, b), (a_mask, b_mask)
        normed = [norm(x) if self.pre else x for norm, x in zip(self.norms, streams, strict=True)]
        dropout = self.drop.p if self.training else 0.0
        out = []
        for mine, other in ((0, 1), (1, 0)):
            memory = self.tell[other](normed[other])
            seen = attend(self.ask[mine](normed[mine]), memory, masks[other], heads=self.heads, dropout=dropout)
            x = streams[mine] + self.drop(self.merge[mine](seen))
            out.append(self.think[mine](x if self.pre else self.norms[mine](x)))
        return out[0], out[1]

    def alone(self, x: Tensor, stream: int) -> Tensor:
        """One stream (0 or 1), (B, N, width), where there is no other to ask: it only thinks."""
        return self.think[stream](x if self.pre else self.norms[stream](x))


def run_layers(layers: nn.ModuleList, x: Tensor, mask: Tensor, *, first: bool = False) -> Tensor:
    """Through all layers; `first`: only the first token is wanted, (B, 1, width)."""
    for i, layer in enumerate(layers):
        x = layer(x, mask, 1 if first and i == len(layers) - 1 else None)
    return x[:, :1] if first else x


def copy_layers(layers: nn.ModuleList, text: TextBackbone) -> list[nn.Parameter]:
    """Starts `layers` as the layers of the text model that stand above its frozen part; gives their parameters.

    Raises:
        ValueError: the text model has too few layers left, of another shape, or the norms stand elsewhere.
    """
    if len(text.upper) < len(layers):
        raise ValueError(
            f"{len(layers)} text layers cannot start from the {len(text.upper)} that the text model has above its "
            "frozen part: set text.depth"
        )
    for layer, weights in zip(layers, text.upper, strict=False):
        if layer.pre:
            raise ValueError("text layers that start from BERT need pre_norm: false")
        own = bert_layer(weights)
        shapes = {name: (tuple(own[name].shape), tuple(value.shape)) for name, value in layer.state_dict().items()}
        if wrong := next((name for name, (theirs, ours) in shapes.items() if theirs != ours), None):
            raise ValueError(f"{wrong} is {shapes[wrong][0]} in the text model and {shapes[wrong][1]} in the config")
        layer.load_state_dict(own)
    return list(layers.parameters())


def bert_layer(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a BERT layer of transformers under the names of `Layer` (with `pre=False`)."""
    own: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        own[f"ask.{kind}"] = weights[f"attention.self.query.{kind}"]
        own[f"tell.{kind}"] = torch.cat([weights[f"attention.self.{part}.{kind}"] for part in ("key", "value")])
        own[f"merge.{kind}"] = weights[f"attention.output.dense.{kind}"]
        own[f"norm.{kind}"] = weights[f"attention.output.LayerNorm.{kind}"]
        own[f"think.widen.{kind}"] = weights[f"intermediate.dense.{kind}"]
        own[f"think.narrow.{kind}"] = weights[f"output.dense.{kind}"]
        own[f"think.norm.{kind}"] = weights[f"output.LayerNorm.{kind}"]
    return own


def _fits(width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(f"width ({width}) must be divisible by heads ({heads})")
