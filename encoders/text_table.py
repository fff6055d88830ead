"""Tokens of N texts, one for each item of a `TokenTable`: what stands in the place of the items' own texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.backbones import TextBackbone
from encoders.features import FeatureCache, text_tokens
from encoders.tables import FACTS, INDEX, Batch, token_places

__all__ = ["TextTable", "open_texts", "write_texts"]

CHUNK = 1024  # texts


@dataclass(frozen=True)
class TextTable:
    """Tokens of N texts.

    Attributes:
        texts: (all tokens, V), text after text.
        words: (all tokens,) their ids.
        starts: (N + 1,) where each begins.
    """

    texts: NDArray[np.float16]
    words: NDArray[np.int64]
    starts: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64], device: str, kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, T, V), mask (B, T) and ids (B, T) of these."""
        where, mask = token_places(self.starts, rows)
        return (
            torch.from_numpy(self.texts[where]).to(device, kind),
            torch.from_numpy(mask).to(device),
            torch.from_numpy(self.words[where]).to(device),
        )

    def instead(
        self, given: Batch, rows: NDArray[np.int64], which: NDArray[np.bool_], device: str, kind: torch.dtype
    ) -> Batch:
        """A batch of these rows, with these texts in the place of its own for those items `which` (B,) says."""
        found = self.of(rows, device, kind)
        if not which.all():
            here = torch.from_numpy(which).to(device)
            most = max(given.texts.shape[1], found[0].shape[1])
            both = [
                (_longer(one, most), _longer(other, most))
                for one, other in zip(found, (given.texts, given.text_mask, given.words), strict=True)
            ]
            found = tuple(torch.where(here.reshape(-1, *[1] * (one.ndim - 1)), one, other) for one, other in both)  # type: ignore[assignment]
        return replace(given, texts=found[0], text_mask=found[1], words=found[2])


def write_texts(texts: Sequence[str], text: TextBackbone, folder: Path, *, cache: FeatureCache | None = None) -> None:
    """Writes what `open_texts` reads into `folder`, an empty one."""
    words: list[list[int]] = []
    with (folder / "texts.f16").open("wb") as file:
        for start in range(0, len(texts), CHUNK):
            some = texts[start : start + CHUNK]
            file.write(np.concatenate(text_tokens(text, some, cache=cache)).tobytes())
            words += text.ids(some)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in words], dtype=np.int64)]).astype(np.int64)
    np.savez(folder / INDEX, words=np.array([number for row in words for number in row], np.int64), starts=starts)
    (folder / FACTS).write_text(json.dumps({"text_width": text.width}), encoding="utf-8")  # last: now it is whole


def open_texts(folder: Path) -> TextTable:
    """What `write_texts` wrote."""
    width = json.loads((folder / FACTS).read_text(encoding="utf-8"))["text_width"]
    with np.load(folder / INDEX) as index:
        words, starts = index["words"], index["starts"]
    return TextTable(np.memmap(folder / "texts.f16", np.float16, "r").reshape(-1, width), words, starts)


def _longer(rows: Tensor, places: int) -> Tensor:
    """(B, T, …) to (B, places, …), zeros beyond."""
    more = rows.new_zeros(len(rows), places - rows.shape[1], *rows.shape[2:])
    return torch.cat([rows, more], dim=1)
