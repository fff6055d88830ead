"""Rows of one collection as plain arrays: what filters admit is a mask, what is near is a matrix product.

Rows lie in the order of (product id, instance id), so that those of one product are neighbours and equal scores need no
second look. The arrays are those of a folder, mapped (`kg.vectors.resident_files`), or lie in memory (what has changed
since the folder was written).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg.conditions import All, AnyOf, Condition, Leaf, Not
from kg.vectors.client import Fetched
from kg.vectors.schema import fit

__all__ = ["LINKED", "POSTED", "Mask", "Postings", "Rows", "assembled"]

Mask = NDArray[np.bool_]

POSTED = ("brand", "seller", "categories", "entities")
LINKED = {"entities", "near", "graph"}  # conditions on entities of any type
MARGIN = {"float32": 1e-5, "float16": 5.2e-4}  # a cosine from rounded values is nearer than this to the true one
BLOCK = 256  # rows gathered or widened at once: they stay in the processor's cache
LEAP = 0.4  # of the rows: where more are admitted, reading all of them in order is quicker than leaping
SCORES = 1 << 24  # scores held at once


@dataclass(frozen=True)
class Postings:
    """Key → rows that bear it: those of key number n are `rows[starts[n]:starts[n + 1]]`, ascending."""

    keys: Mapping[str, int]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]

    def mark(self, mask: Mask, keys: Iterable[str]) -> None:
        """Set the mask where a row bears one of the keys."""
        for key in keys:
            if (number := self.keys.get(key)) is not None:
                mask[self.rows[self.starts[number] : self.starts[number + 1]]] = True


@dataclass(frozen=True)
class Rows:
    """N rows of P products.

    Attributes:
        vectors: (N, D) as they are stored, float32.
        scan: (N, D) unit vectors in float16, or None where `vectors` are scanned themselves.
        scale: (N,) 1 / length of each vector.
        products: (P,) ids in UTF-8, ascending (as text and as bytes alike).
        starts: (P + 1,) first row of each product.
        owner: (N,) number of the product of each row.
        names, name_starts: instance ids in UTF-8, one after the other, and where each begins.
        price: (N,) below 0 where unknown.
        updated: (N,) epoch seconds, 0 where unknown.
        postings: by field, of `POSTED`.
    """

    vectors: NDArray[np.float32]
    scan: NDArray[np.float16] | None
    scale: NDArray[np.float32]
    products: NDArray[np.bytes_]
    starts: NDArray[np.int64]
    owner: NDArray[np.int32]
    names: NDArray[np.uint8]
    name_starts: NDArray[np.int64]
    price: NDArray[np.float64]
    updated: NDArray[np.int64]
    postings: Mapping[str, Postings]

    def __len__(self) -> int:
        return len(self.owner)

    # what is admitted

    def mask(self, condition: Condition) -> Mask:
        """(N,) true where the row passes."""
        match condition:
            case Leaf(name=name, value=value):
                return self._leaf(name, value)
            case Not(part=part):
                return ~self.mask(part)
            case All(parts=parts):
                every = np.ones(len(self), bool)
                for part in parts:
                    every &= self.mask(part)
                return every
            case AnyOf(parts=parts):
                some = np.zeros(len(self), bool)
                for part in parts:
                    some |= self.mask(part)
                return some

    def _leaf(self, name: str, value: Any) -> Mask:
        mask = np.zeros(len(self), bool)
        if name == "brands":
            self._mark("brand", mask, value)
        elif name == "sellers":
            self._mark("seller", mask, value)
        elif name == "categories":
            self._mark("categories", mask, value)
        elif name in LINKED:
            self._mark("entities", mask, value)
            self._mark("brand", mask, [key for key in value if key.startswith("brand:")])
            self._mark("categories", mask, [key for key in value if key.startswith("category:")])
        elif name == "min_price":
            return self.price >= max(value, 0)
        elif name == "max_price":
            return (self.price >= 0) & (self.price <= value)
        elif name == "updated_since":
            return self.updated >= max(int(datetime.fromisoformat(value).timestamp()), 1)
        elif name == "pattern":
            self.mark_products(mask, self.numbers(value))
        else:
            raise ValueError(f"no rows know a condition {name!r}")
        return mask

    def _mark(self, field: str, mask: Mask, keys: Iterable[str]) -> None:
        self.postings[field].mark(mask, (fit(field, key) for key in keys))

    def mark_products(self, mask: Mask, numbers: NDArray[np.int64], value: bool = True) -> None:
        """Set the mask at all rows of these products."""
        if len(self.products) == len(self):
            mask[numbers] = value
        else:
            chosen = np.zeros(len(self.products), bool)
            chosen[numbers] = True
            mask[chosen[self.owner]] = value

    def numbers(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Of the products that are there, of these ids, ascending."""
        # `S` arrays drop zero bytes at the end: an id that has one is never kept here, and must not be found either.
        wanted = [text for text in (id.encode("utf-8", "surrogatepass") for id in ids) if not text.endswith(b"\0")]
        if not wanted or not len(self.products):
            return np.zeros(0, np.int64)
        sought = np.unique(np.array(wanted))
        at = np.searchsorted(self.products, sought)
        at[at == len(self.products)] = 0
        return at[self.products[at] == sought].astype(np.int64)

    def count(self, mask: Mask | None) -> int:
        """Products of the admitted rows."""
        if mask is None:
            return len(self.products)
        rows = int(np.count_nonzero(mask))
        if len(self.products) == len(self) or not rows:
            return rows
        return int(np.count_nonzero(np.diff(self.owner[mask]))) + 1

    # what is near

    def nearest(self, questions: Sequence[NDArray[np.float32]], mask: Mask | None, k: int) -> list[NDArray[np.int64]]:
        """For each question (Q, D) the numbers of all products that can be among its k best, and of few others.

        Args:
            questions: queries; a row scores its largest cosine to one of them.
            mask: admitted rows; None for all.
            k: products wanted.
        """
        rows = None if mask is None else np.flatnonzero(mask)
        if rows is not None and len(rows) > LEAP * len(self):
            unwanted, rows = ~mask, None  # type: ignore[operator]
        else:
            unwanted = None
        size = len(self) if rows is None else len(rows)
        if not size:
            return [np.zeros(0, np.int64) for _ in questions]
        found: list[NDArray[np.int64]] = []
        step = max(1, SCORES // size)
        batch: list[NDArray[np.float32]] = []
        for at, question in enumerate(questions):
            if len(question) > step:  # such as a product of hundreds of pictures: alone, and part by part
                parts = (self._scores(_unit(question[i : i + step]), rows) for i in range(0, len(question), step))
                best = reduce(np.maximum, (scores.max(axis=1) for scores in parts))
                found.append(self._best(best, rows, unwanted, k))
                continue
            batch.append(_unit(question))
            if at + 1 == len(questions) or sum(map(len, batch)) + len(questions[at + 1]) > step:
                scores = self._scores(np.concatenate(batch), rows)
                for queries in batch:
                    best = scores[:, 0] if len(queries) == 1 else scores[:, : len(queries)].max(axis=1)
                    found.append(self._best(best, rows, unwanted, k))
                    scores = scores[:, len(queries) :]
                batch = []
        return found

    def _scores(self, queries: NDArray[np.float32], rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """(rows, Q) cosines."""
        matrix: NDArray[Any] = self.vectors if self.scan is None else self.scan
        scale = self.scale if rows is None else self.scale[rows]
        turned = np.ascontiguousarray(queries.T)
        if rows is None and self.scan is None:
            scores = np.asarray(matrix @ turned)
            return np.multiply(scores, scale[:, None], out=scores)
        size = len(matrix) if rows is None else len(rows)
        scores = np.empty((size, len(queries)), np.float32)
        held = np.empty((min(BLOCK, size), matrix.shape[1]), np.float32)
        for start in range(0, size, BLOCK):
            stop = min(start + BLOCK, size)
            part = held[: stop - start]
            if rows is None:
                part[:] = matrix[start:stop]
            elif self.scan is None:
                np.take(matrix, rows[start:stop], axis=0, out=part, mode="clip")
            else:
                part[:] = matrix[rows[start:stop]]
            np.matmul(part, turned, out=scores[start:stop])
        if self.scan is None:
            scores *= scale[:, None]
        return scores

    def _best(
        self, scores: NDArray[np.float32], rows: NDArray[np.int64] | None, unwanted: Mask | None, k: int
    ) -> NDArray[np.int64]:
        if unwanted is not None:
            scores = np.where(unwanted, np.float32(-np.inf), scores)
        if len(self.products) == len(self):
            numbers = rows
        else:
            owner = self.owner if rows is None else self.owner[rows]
            first = np.flatnonzero(np.diff(owner, prepend=-1))
            scores, numbers = np.maximum.reduceat(scores, first), owner[first].astype(np.int64)
        margin = MARGIN["float32" if self.scan is None else "float16"]
        if len(scores) > k:
            cut = np.partition(scores, len(scores) - k)[len(scores) - k] - 2 * margin
            chosen = np.flatnonzero((scores >= cut) & (scores > -np.inf))
        else:
            chosen = np.flatnonzero(scores > -np.inf)
        return chosen if numbers is None else numbers[chosen]

    def fetch(self, numbers: NDArray[np.int64]) -> Fetched:
        """Every row of these products (numbers, ascending), as the store gives them."""
        first, sizes = self.starts[numbers], self.starts[numbers + 1] - self.starts[numbers]
        at = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        ends = zip(self.name_starts[at].tolist(), self.name_starts[at + 1].tolist(), strict=True)
        names = [self.names[start:end].tobytes().decode() for start, end in ends]
        owners = [owner.decode() for owner in self.products[self.owner[at]].tolist()]
        return Fetched(names, owners, np.asarray(self.vectors[at]))


def _unit(queries: NDArray[np.float32]) -> NDArray[np.float32]:
    wide = queries.astype(np.float64)
    unit: NDArray[np.float32] = (wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))).astype(np.float32)
    return unit


def assembled(
    products: Sequence[bytes],
    instances: Sequence[bytes],
    price: NDArray[np.float64],
    updated: NDArray[np.int64],
    links: Mapping[str, tuple[NDArray[np.int32], NDArray[np.int32]]],
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """The order that the rows get, and every array but those of the vectors and the keys.

    Args:
        products: id of the product of each row as it came, in UTF-8.
        instances: id of the row itself.
        price: of each row.
        updated: of each row.
        links: field of `POSTED` → numbers of keys, and of the row (as it came) that bears each.
    """
    size = len(products)
    owners = np.array(products, dtype=np.bytes_) if size else np.zeros(0, "S1")
    order = np.array(sorted(range(size), key=lambda row: (products[row], instances[row])), np.int64)
    owners = owners[order]
    first = np.flatnonzero(np.append(True, owners[1:] != owners[:-1])) if size else np.zeros(0, np.int64)
    owner = np.zeros(size, np.int32)
    owner[first[1:]] = 1
    named = [instances[row] for row in order.tolist()]
    arrays: dict[str, NDArray[Any]] = {
        "products": owners[first],
        "starts": np.append(first, size).astype(np.int64),
        "owner": np.cumsum(owner, dtype=np.int32),
        "names": np.frombuffer(b"".join(named), np.uint8),
        "name_starts": np.concatenate(([0], np.cumsum([len(name) for name in named], dtype=np.int64))).astype(np.int64),
        "price": price[order],
        "updated": updated[order],
    }
    place = np.empty(size, np.int32)
    place[order] = np.arange(size, dtype=np.int32)
    for field in POSTED:
        keys, rows = links[field]
        rows = place[rows]
        sort = np.lexsort((rows, keys))
        count = int(keys.max()) + 1 if len(keys) else 0
        arrays[f"{field}_starts"] = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=count)))).astype(
            np.int64
        )
        arrays[f"{field}_rows"] = rows[sort].astype(np.int32)
    return order, arrays
