"""Cache of backbone tokens on disk: computed once for each picture or text, by any process, for any tower.

The key is the hash of the very pixels (or the text) that the backbone sees and of the backbone, so an entry is never
out of date. Tokens of pictures are kept, and used, as float16: with or without the cache the vectors are the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import lmdb
import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.backbones.base import PictureBackbone, TextBackbone

__all__ = ["FeatureCache", "Recent", "picture_tokens", "text_tokens"]

_open: dict[Path, FeatureCache] = {}
_opening = threading.Lock()


class FeatureCache:
    """An LMDB folder within a budget; the oldest entries make room.

    Args:
        folder: made where it is missing.
        gigabytes: room for the entries.
    """

    def __init__(self, folder: Path, gigabytes: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.budget = int(gigabytes * 1e9)
        # A sparse file: room beside the budget lets LMDB write before it frees. A crash may lose the last entries.
        room = self.budget + self.budget // 4 + (256 << 20)
        self.env = lmdb.open(str(folder), map_size=room, max_dbs=2, metasync=False)
        self.env.reader_check()  # a process that was killed would hold on to pages for ever
        self.entries, self.order = self.env.open_db(b"entries"), self.env.open_db(b"order", integerkey=True)

    @classmethod
    def at(cls, folder: Path, gigabytes: float) -> FeatureCache:
        """The one of this process: LMDB must not open a folder twice."""
        folder = folder.absolute()
        with _opening:
            if folder not in _open:
                _open[folder] = cls(folder, gigabytes)
            return _open[folder]

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        with self.env.begin(db=self.entries) as tx:
            return {key: value for key in keys if (value := tx.get(key)) is not None}

    def put(self, found: dict[bytes, bytes]) -> None:
        with self.env.begin(write=True) as tx:
            last = tx.cursor(self.order)
            number = int.from_bytes(last.key(), "little") if last.last() else 0
            for key, value in found.items():
                if tx.put(key, value, db=self.entries, overwrite=False):
                    number += 1
                    tx.put(number.to_bytes(8, "little"), key, db=self.order)
            if self._used(tx) > self.budget:
                self._evict(tx)

    def _used(self, tx: lmdb.Transaction) -> int:
        pages = tx.stat(self.entries)
        return pages["psize"] * (pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"])

    def _evict(self, tx: lmdb.Transaction) -> None:
        oldest = tx.cursor(self.order)
        while self._used(tx) > 0.9 * self.budget and oldest.first():
            tx.delete(oldest.value(), db=self.entries)
            oldest.delete()


class Recent:
    """The last entries, in memory: for what is asked for twice in a row, such as a picture whose regions are sought
    first and then encoded. Stands where a `FeatureCache` may stand.

    Args:
        entries: kept at most; some 350 kB each for EfficientNet-Lite0 at 320 pixels.
    """

    def __init__(self, entries: int = 64) -> None:
        self.most, self.entries, self.lock = entries, OrderedDict[bytes, bytes](), threading.Lock()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        with self.lock:
            return {key: self.entries[key] for key in keys if key in self.entries}

    def put(self, found: dict[bytes, bytes]) -> None:
        with self.lock:
            self.entries |= found
            while len(self.entries) > self.most:
                self.entries.popitem(last=False)


def picture_tokens(
    backbone: PictureBackbone, images: Sequence[Image], *, cache: FeatureCache | Recent | None = None, batch: int = 64
) -> NDArray[np.float16]:
    """Tokens of RGB pictures, (N, places, width)."""
    out = np.empty((len(images), backbone.places, backbone.width), np.float16)
    for start in range(0, len(images), batch):
        pixels = [backbone.pixels(image) for image in images[start : start + batch]]
        keys = [hashlib.sha256(backbone.fingerprint.encode() + p.data).digest() for p in pixels]
        known = cache.get(keys) if cache else {}
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            tokens = backbone.tokens(np.stack([pixels[i] for i in new])).to("cpu", torch.float16).numpy()
            out[[start + i for i in new]] = tokens
            if cache:
                cache.put({keys[i]: token.tobytes() for i, token in zip(new, tokens, strict=True)})
        for i, key in enumerate(keys):
            if key in known:
                out[start + i] = np.frombuffer(known[key], np.float16).reshape(out.shape[1:])
    return out


def text_tokens(
    backbone: TextBackbone, texts: Sequence[str], *, cache: FeatureCache | None = None, batch: int = 64
) -> list[NDArray[np.float16]]:
    """Tokens of each text, (length, width): what training reads. Queries are computed as they come."""
    keys = [hashlib.sha256(f"{backbone.fingerprint}{text}".encode()).digest() for text in texts]
    known = cache.get(keys) if cache else {}
    # Texts of like length share a batch: less padding to compute.
    new = sorted((i for i, key in enumerate(keys) if key not in known), key=lambda i: len(texts[i]))
    for start in range(0, len(new), batch):
        rows = new[start : start + batch]
        features, mask = backbone.tokens([texts[i] for i in rows])
        found = features.to("cpu", torch.float16).numpy()
        fresh = {keys[i]: found[n, mask[n].cpu().numpy()].tobytes() for n, i in enumerate(rows)}
        known |= fresh
        if cache:
            cache.put(fresh)
    return [np.frombuffer(known[key], np.float16).reshape(-1, backbone.width) for key in keys]
