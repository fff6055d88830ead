"""What a tower needs to know of a backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

__all__ = ["PictureBackbone", "TextBackbone", "TextTokens", "token_ends", "weights_hash"]


class TextTokens(NamedTuple):
    """B texts of at most N tokens: `features` (B, N, width) float32, `mask` (B, N) bool."""

    features: Tensor
    mask: Tensor


class PictureBackbone(Protocol):
    """Pictures to tokens, in two steps, so that a cache can know the tokens by the pixels.

    Attributes:
        fingerprint: hash over weights and preprocessing.
        size: S, pixels.
        places: tokens of a picture.
        width: length of a token.
        parts: what a token is put together of, in order: (channels, n), each of the n x n places of a finer map that
            lie in the token's cell; channel after channel, each row by row.
    """

    fingerprint: str
    size: int
    places: int
    width: int
    parts: tuple[tuple[int, int], ...]

    def pixels(self, image: Image) -> NDArray[np.uint8]:
        """An RGB picture as (S, S, 3)."""
        ...

    def tokens(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(B, S, S, 3) to (B, places, width) float32."""
        ...


class TextBackbone(Protocol):
    """Texts to tokens: a tokenizer, and the frozen layers of a text model.

    Attributes:
        fingerprint: hash over weights and tokenizer.
        places: most tokens of a text; longer texts are cut.
        width: length of a token.
        words: (V, E) embeddings of the vocabulary.
        vocabulary: ids of the words, without the special tokens.
        mask_id: of [MASK]; None where the tokenizer has none.
        upper: weights of the layers above the frozen ones, by their names in transformers.
    """

    fingerprint: str
    places: int
    width: int
    words: Tensor
    vocabulary: Tensor
    mask_id: int | None
    upper: list[dict[str, Tensor]]

    def tokens(self, texts: Sequence[str]) -> TextTokens: ...

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's tokens as numbers, special ones included, cut to `places`."""
        ...

    def ends(self, texts: Sequence[str]) -> list[list[int]]:
        """Where in each text its tokens end, without the special ones; nothing is cut."""
        ...

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, N, width) of ids (B, N), mask (B, N) bool: what `tokens` does after the tokenizer."""
        ...

    def save_tokenizer(self, folder: Path) -> None: ...


def token_ends(rules: str) -> Callable[[Sequence[str]], list[list[int]]]:
    """`TextBackbone.ends` by the rules of a tokenizer, as JSON. With a tokenizer of its own: one that cuts remembers
    that between two calls, and threads may ask at the same time."""
    from tokenizers import Tokenizer

    uncut = Tokenizer.from_str(rules)
    uncut.no_truncation()
    uncut.no_padding()

    def ends(texts: Sequence[str]) -> list[list[int]]:
        found = uncut.encode_batch(list(texts), add_special_tokens=False)
        return [[end for _, end in one.offsets] for one in found]

    return ends


def weights_hash(state: Mapping[str, Tensor], *extra: str) -> str:
    """SHA-256 over names, shapes and bytes of the weights, and over `extra`."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.view(-1).numpy().data)
    for part in extra:
        digest.update(part.encode())
    return digest.hexdigest()
