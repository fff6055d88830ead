"""Neighbours of the entities' texts, kept from one computation to the next, so that only what changed is compared.

Up to `EXACT` entities the neighbours are those of a computation from scratch, to the last digit. Above it the first
computation is approximate; rows that are new or have lost a neighbour are then compared with all, so that no row ever
gets worse; once a fifth of all have changed it is computed anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from encoders.neighbours import EXACT, nearest
from kg.similarity import GONE, Neighbours, updated

__all__ = ["Kept", "neighbours"]

log = logging.getLogger(__name__)

RENEWED = 0.2  # share of rows that changed since the last computation from scratch, above which there is another


@dataclass(frozen=True)
class Kept:
    """What is on disk.

    Attributes:
        ids: (N, 16) bytes that name a key and its text.
        near: neighbours of each.
        exact: whether all rows have been compared with all.
        changed: rows compared anew since the last computation from scratch.
    """

    ids: NDArray[np.uint8]
    near: Neighbours
    exact: bool
    changed: int

    def write(self, path: Path) -> None:
        """Replace the file, atomically."""
        draft = path.with_name(f"{path.stem}.new.npz")
        np.savez(draft, ids=self.ids, indices=self.near[0], scores=self.near[1], exact=self.exact, changed=self.changed)
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Kept | None:
        """None where there is none, or none that can be read."""
        try:
            with np.load(path) as found:
                near = found["indices"], found["scores"]
                return cls(found["ids"], near, bool(found["exact"]), int(found["changed"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            log.warning("%s is of no use, all neighbours are computed anew: %s", path, error)
            return None


def neighbours(path: Path, ids: Sequence[bytes], vectors: NDArray[np.float32], k: int) -> Neighbours:
    """The `k` nearest others of each row.

    Args:
        path: where they are kept.
        ids: 16 bytes for each row, other bytes where its vector is another; those that stay keep their order.
        vectors: (N, D), unit rows.
        k: neighbours of each.

    Raises:
        BadVector: a value is not finite.
    """
    codes = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)
    kept, exact = Kept.read(path), len(ids) <= EXACT
    if kept is None or not len(kept.ids) or kept.near[0].shape[1] != k or (exact and not kept.exact):
        return _anew(path, codes, vectors, k)
    before = {row.tobytes(): number for number, row in enumerate(kept.ids)}
    rows = np.array([before.get(name, -1) for name in ids], np.int64)
    fresh = rows < 0
    now = np.full(len(before) + 1, GONE, np.int64)
    now[rows[~fresh]] = np.flatnonzero(~fresh)
    old = kept.near[0][rows]
    indices = np.where(old < 0, old, now[old])
    indices[fresh] = GONE
    changed = int((indices == GONE).any(axis=1).sum())
    if not changed and len(ids) == len(before):
        return kept.near
    if (kept.changed + changed if not exact else changed) > RENEWED * len(ids):
        return _anew(path, codes, vectors, k)
    near = updated(vectors, k, (indices, kept.near[1][rows]), fresh)
    Kept(codes, near, kept.exact, kept.changed + changed).write(path)
    return near


def _anew(path: Path, codes: NDArray[np.uint8], vectors: NDArray[np.float32], k: int) -> Neighbours:
    near = nearest(vectors, k)
    Kept(codes, near, len(codes) <= EXACT, 0).write(path)
    return near
