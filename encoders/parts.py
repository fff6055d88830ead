"""What the encoders with masked modelling are built of, beside the layers of `encoders.transformers`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders import losses
from encoders.kept import principal
from encoders.masking import IGNORED, Masked, global_token

__all__ = ["PictureEntry", "Pretext", "VectorHead", "hide_tokens", "one_of", "text_entry", "triple"]


class PictureEntry(nn.Module):
    """Regions to tokens: linear of the features plus linear of the box, layer norm (papers.md 1.5, visual embedding).

    Args:
        inside: width W of a region's features.
        width: of a token.
        dropout: in training only.
        mean: the global token is the mean of the regions; else it is what the picture came with.
    """

    scale: Tensor

    def __init__(self, inside: int, width: int, *, dropout: float = 0.0, mean: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.features, self.place = nn.Linear(inside, width), nn.Linear(5, width)
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.register_buffer("scale", torch.ones(()))

    def start(self, pictures: Tensor, mask: Tensor) -> None:
        """From here on the features have a mean square of 1, as those of (N, R, W), mask (N, R), have on the whole:
        a masked region then costs about as much as a masked word."""
        self.scale.fill_(pictures[mask].float().square().mean().clamp(min=1e-12).rsqrt())

    def forward(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        """Features (B, R, W), boxes (B, R, 5), mask (B, R), row 0 the global token, to (B, R, width)."""
        if self.mean:
            pictures = torch.cat([global_token(pictures, mask)[:, None], pictures[:, 1:]], dim=1)
        # The scale goes to the weights: they are fewer than the features.
        tokens = functional.linear(pictures, self.features.weight * self.scale, self.features.bias)
        return self.drop(self.norm(tokens + self.place(boxes)))

    def whole(self, pictures: Tensor, mask: Tensor) -> Tensor:
        """(B, W): the scaled features of the global token."""
        return (global_token(pictures, mask) if self.mean else pictures[:, 0]) * self.scale


def text_entry(inside: int, width: int) -> nn.Module:
    """Tokens of the frozen text model to those of the encoder: nothing where the widths are equal."""
    return nn.Identity() if inside == width else nn.Sequential(nn.LayerNorm(inside), nn.Linear(inside, width))


class VectorHead(nn.Module):
    """First token to a unit vector.

    Args:
        width: of a token.
        dim: of the vector.
        kind: "linear": layer norm, linear; "relu": linear, ReLU, as CAPTURE was released.
        skip: width of the global features that are added through a linear map of their own; 0 for none.

    Raises:
        ValueError: there is no such kind.
    """

    def __init__(self, width: int, dim: int, *, kind: str = "linear", skip: int = 0) -> None:
        super().__init__()
        if kind not in ("linear", "relu"):
            raise ValueError(f'head {kind!r}: there are "linear" and "relu"')
        self.change: nn.Module = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim, bias=False))
            if kind == "linear"
            else nn.Sequential(nn.Linear(width, dim), nn.ReLU())
        )
        self.skip = nn.Linear(skip, dim) if skip else None

    def start(self, features: Tensor) -> None:
        """The skip begins as the principal components of the features (N, W), see `encoders.kept.principal`. All else
        begins at 0."""
        if self.skip is None:
            return
        basis, offset = principal(features, len(self.skip.weight))
        with torch.no_grad():
            self.skip.weight.zero_()
            self.skip.bias.zero_()
            self.skip.weight[: len(basis)] = basis
            self.skip.bias[: len(basis)] = offset
            for part in self.change.modules():
                if isinstance(part, nn.Linear):
                    part.weight.zero_()
                    if part.bias is not None:
                        part.bias.zero_()

    def forward(self, token: Tensor, features: Tensor | None = None) -> Tensor:
        """(B, width), and (B, W) global features where there is a skip, to (B, dim), unit rows."""
        vector = self.change(token)
        if self.skip is not None and features is not None:
            vector = vector + self.skip(features)
        return functional.normalize(vector.float(), dim=-1)


class Pretext(nn.Module):
    """Heads of masked word modelling and masked region modelling, and their losses (papers.md 1.6).

    Args:
        width: of a token of the encoder.
        regions: width W of a region's features.
        words: (V, E) embeddings of the frozen text model, which the word head is tied to; not trained, not saved.
    """

    words: Tensor
    places: Tensor

    def __init__(self, width: int, *, regions: int, words: Tensor) -> None:
        super().__init__()
        inside = words.shape[1]
        self.word = nn.Sequential(nn.Linear(width, inside), nn.GELU(), nn.LayerNorm(inside))
        self.word_bias = nn.Parameter(torch.zeros(len(words)))
        self.region = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, regions))
        self.register_buffer("words", words.detach(), persistent=False)
        self.register_buffer("places", torch.arange(len(words)), persistent=False)  # of each word among those scored

    def start(self, words: Tensor) -> None:
        """From here on only these ids (M,) are scored, the words of the training's texts: what never is an answer
        takes nine tenths of the time of this head."""
        ids = words.unique().to(self.words.device)
        self.places = torch.full_like(self.places, IGNORED)
        self.places[ids] = torch.arange(len(ids), device=ids.device)
        self.words = self.words[ids]

    def word_loss(self, tokens: Tensor, masked: Masked) -> Tensor:
        """Tokens (B, T, width): the vocabulary is scored only where a word is asked for."""
        asked = masked.words != IGNORED
        scores = functional.linear(self.word(tokens[asked]), self.words, self.word_bias[self.places != IGNORED])
        return losses.masked_words(scores, self.places[masked.words[asked]])

    def region_loss(self, tokens: Tensor, features: Tensor) -> Tensor:
        """Tokens (M, width) of the regions asked for against their scaled features (M, W)."""
        return losses.masked_regions(self.region(tokens), features)


def hide_tokens(mask: Tensor, share: float) -> Tensor:
    """A mask (B, N) with a share of the tokens hidden at random, never the first."""
    if share <= 0:
        return mask
    kept = torch.rand(mask.shape, device=mask.device) >= share
    kept[:, 0] = True
    return mask & kept


def triple(layers: Sequence[int]) -> tuple[int, int, int]:
    """Depths of the separate, cross and joint transformers.

    Raises:
        ValueError: not three numbers from 0.
    """
    if len(layers) != 3 or any(not isinstance(depth, int) or depth < 0 for depth in layers):
        raise ValueError(f"layers {list(layers)}: three numbers from 0 are needed: separate, cross, joint")
    return layers[0], layers[1], layers[2]


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Raises:
    ValueError: the value is not known.
    """
    if value not in known:
        raise ValueError(f"{name} {value!r}: there are {', '.join(known)}")
