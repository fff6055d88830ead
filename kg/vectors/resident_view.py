"""The live generation as it is now: a copy of it, what changed since, and the part of both that a selection admits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg.graph import selection as graph_side
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors.client import Fetched
from kg.vectors.resident_rows import Mask, Rows

__all__ = ["Copy", "Inside", "Overlay", "View"]

PART = 2000  # products whose vectors are held at once


@dataclass(frozen=True)
class Copy:
    """The generation at `cursor`: rows by collection, mapped."""

    name: str
    generation: str
    created_at: str
    edited: int
    cursor: int
    rows: Mapping[str, Rows]


@dataclass(frozen=True)
class Overlay:
    """What changed since a copy was written, up to `cursor`: rows by collection, and which of the copy they replace."""

    copy: Copy
    cursor: int
    found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]] = field(default_factory=dict)  # collection → product
    rows: Mapping[str, Rows] = field(default_factory=dict)
    gone: Mapping[str, Mask] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class View:
    """The generation as it is now.

    Attributes:
        overlay: the copy and what changed since.
        unsettled: products that the generation has not embedded yet, as they are now.
        stores: for the unsettled ones.
    """

    overlay: Overlay
    unsettled: frozenset[str]
    stores: Stores

    def inside(self, selection: Selection) -> Inside:
        """The part of it that a selection admits."""
        admitted: frozenset[str] = frozenset()
        if self.unsettled and not selection.nothing:
            admitted = frozenset(graph_side.members(self.stores.graph, selection, self.unsettled))
        return Inside(self, selection, admitted)

    def size(self, collection: str) -> int:
        """Rows that a search without filter reads."""
        return len(self.overlay.copy.rows[collection])

    def products(self, collection: str) -> int:
        """Products that have such rows."""
        return len(self.overlay.copy.rows[collection].products)


@dataclass(frozen=True)
class Inside:
    """What a selection admits: masks over the rows (made once for each collection), and unsettled products."""

    view: View
    selection: Selection
    admitted: frozenset[str]
    _masks: dict[str, tuple[Mask | None, Mask | None]] = field(default_factory=dict)

    def count(self, collection: str) -> int:
        """Products that are admitted and have rows there (an unsettled one that is admitted counts in any case)."""
        mine, fresh = self.masks(collection)
        overlay = self.view.overlay
        added = overlay.rows[collection].count(fresh) if collection in overlay.rows else 0
        return overlay.copy.rows[collection].count(mine) + added + len(self.admitted)

    def masks(self, collection: str) -> tuple[Mask | None, Mask | None]:
        """Of the copy's rows and of those read anew; None for all."""
        if collection not in self._masks:
            overlay = self.view.overlay
            old = self._mask(overlay.copy.rows[collection], overlay.gone.get(collection))
            fresh = overlay.rows.get(collection)
            self._masks[collection] = (old, None if fresh is None else self._mask(fresh, None))
        return self._masks[collection]

    def _mask(self, rows: Rows, gone: Mask | None) -> Mask | None:
        if self.selection.nothing:
            return np.zeros(len(rows), bool)
        mask = None if self.selection.everything else rows.mask(self.selection.tree)
        if gone is not None:
            mask = ~gone if mask is None else mask & ~gone
        return _without(rows, mask, self.view.unsettled)

    def candidates(
        self, collection: str, questions: Sequence[NDArray[np.float32]], k: int, exclude: frozenset[str] = frozenset()
    ) -> Iterator[tuple[int, Fetched]]:
        """The stored rows of all products that can be among the k best of a question (Q, D), with its number.

        In parts: of a picture that stands for "no picture" there may be very many.
        """
        overlay = self.view.overlay
        old, fresh = self.masks(collection)
        for rows, mask in ((overlay.copy.rows[collection], old), (overlay.rows.get(collection), fresh)):
            if rows is not None and len(rows):
                nearest = rows.nearest(questions, _without(rows, mask, exclude), k)
                for at, numbers in enumerate(nearest):
                    for start in range(0, len(numbers), PART):
                        yield at, rows.fetch(numbers[start : start + PART])
        if asked := self.admitted - exclude:
            part = self.view.stores.vectors.fetch(collection, asked)
            yield from ((at, part) for at in range(len(questions)))


def _without(rows: Rows, mask: Mask | None, ids: frozenset[str]) -> Mask | None:
    """The mask without the rows of these products."""
    if not ids or not len(numbers := rows.numbers(ids)):
        return mask
    mask = np.ones(len(rows), bool) if mask is None else mask.copy()
    rows.mark_products(mask, numbers, False)
    return mask
