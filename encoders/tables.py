"""Tokens of the training items, computed once and read by memory map: memory stays flat for any catalogue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageOps
from PIL.Image import Image
from torch import Tensor

from encoders.backbones import PictureBackbone, TextBackbone
from encoders.data import TrainItem, identities
from encoders.features import FeatureCache, picture_tokens, text_tokens
from kg.errors import BadPicture, TooLarge

__all__ = ["Batch", "TokenTable", "build_table"]

CHUNK = 256


@dataclass(frozen=True)
class Batch:
    """B items: picture tokens (B, P, W), their mask (B, P), text tokens (B, T, V), their mask (B, T), and which
    pairs of them belong together (B, B)."""

    pictures: Tensor
    picture_mask: Tensor
    texts: Tensor
    text_mask: Tensor
    same: Tensor


@dataclass(frozen=True)
class TokenTable:
    """Tokens of N items.

    Attributes:
        pictures: one array (N, P, W) for each view: as it is, and mirrored where that was asked for.
        texts: (all tokens, V), item after item.
        starts: (N + 1,) where each item's text tokens begin.
        identity: (N, 2), see `encoders.data.identities`.
        parts: (N,) split of each item.
        digest: over everything the table was made of.
        skipped: items whose picture could not be read: (id, reason).
    """

    pictures: tuple[NDArray[np.float16], ...]
    texts: NDArray[np.float16]
    starts: NDArray[np.int64]
    identity: NDArray[np.int64]
    parts: NDArray[np.str_]
    digest: str
    skipped: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.identity)

    def same(self, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(len(rows), len(others)): equal key or equal text."""
        return (self.identity[rows][:, None] == self.identity[others][None]).any(axis=2)

    def batch(self, rows: NDArray[np.int64], device: str, *, view: int = 0) -> Batch:
        pictures = torch.from_numpy(self.pictures[view][rows]).to(device).float()
        lengths = self.starts[rows + 1] - self.starts[rows]
        places = np.arange(lengths.max())
        mask = places < lengths[:, None]
        where = np.minimum(self.starts[rows][:, None] + places, len(self.texts) - 1)
        return Batch(
            pictures,
            torch.ones(pictures.shape[:2], dtype=torch.bool, device=device),
            torch.from_numpy(self.texts[where]).to(device).float(),
            torch.from_numpy(mask).to(device),
            torch.from_numpy(self.same(rows, rows)).to(device),
        )


def build_table(
    items: Iterable[TrainItem],
    picture: PictureBackbone,
    text: TextBackbone,
    folder: Path,
    *,
    mirrored: bool = False,
    cache: FeatureCache | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> TokenTable:
    """Reads the items once and writes their tokens under `folder`; a picture that cannot be read skips its item."""
    digest = hashlib.sha256(f"{picture.fingerprint}{text.fingerprint}{mirrored}".encode())
    kept: list[TrainItem] = []
    skipped: list[tuple[str, str]] = []
    lengths: list[int] = []
    views = ("plain", "mirrored")[: 1 + mirrored]
    files = {name: (folder / f"{name}.tokens").open("wb") for name in (*views, "texts")}

    def write(name: str, values: NDArray[np.float16]) -> None:
        files[name].write(values.tobytes())

    def flush(chunk: list[tuple[TrainItem, Image]]) -> None:
        images = [image for _, image in chunk]
        write("plain", picture_tokens(picture, images, cache=cache))
        if mirrored:
            write("mirrored", picture_tokens(picture, [ImageOps.mirror(image) for image in images], cache=cache))
        tokens = text_tokens(text, [item.text for item, _ in chunk], cache=cache)
        write("texts", np.concatenate(tokens))
        lengths.extend(map(len, tokens))
        kept.extend(item for item, _ in chunk)
        on_progress(len(kept) + len(skipped))

    chunk: list[tuple[TrainItem, Image]] = []
    for item in items:
        digest.update(f"{item.id}\0{item.key}\0{item.part}\0{item.text}\0".encode())
        try:
            image = item.open_picture().convert("RGB")
        except (BadPicture, TooLarge) as error:
            skipped.append((item.id, str(error)))
            continue
        chunk.append((item, image))
        digest.update(picture.pixels(image).tobytes())
        if len(chunk) == CHUNK:
            flush(chunk)
            chunk = []
    if chunk:
        flush(chunk)
    for file in files.values():
        file.close()

    def mapped(name: str, *shape: int) -> NDArray[np.float16]:
        if not kept:
            return np.empty((0, *shape), np.float16)
        return np.memmap(folder / f"{name}.tokens", np.float16, "r").reshape(-1, *shape)

    return TokenTable(
        tuple(mapped(view, picture.places, picture.width) for view in views),
        mapped("texts", text.width),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        identities(kept),
        np.array([item.part for item in kept]),
        digest.hexdigest(),
        tuple(skipped),
    )
