"""Rows into a folder and back: written from a stream of the store in flat memory but for ids and links, then mapped.

A folder holds one `.npy` file an array and `keys.json`; it is written beside its place and renamed when it is whole, so
what is there is complete, and several processes may map it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from array import array
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg.errors import BadVector
from kg.vectors.resident_rows import POSTED, Postings, Rows, assembled
from kg.vectors.schema import VECTOR

__all__ = ["FIELDS", "gathered", "mapped", "scanned_bytes", "write"]

FIELDS = ("instance_id", "product_id", VECTOR, "brand", "categories", "entities", "seller", "price", "updated_at")
ARRAYS = ("scale", "products", "starts", "owner", "names", "name_starts", "price", "updated")
COPY = 8192  # vectors put in order at once
LENGTHS = (1e-15, 1e15)  # of a vector: outside of these float32 sums are no longer sure
BESIDE = 160  # bytes of ids, columns and links of a row, roughly

Row = Mapping[str, Any]


def scanned_bytes(rows: int, dim: int, dtype: str) -> int:
    """Room that searches among so many rows walk through, in bytes: of the vectors that are scanned, ids and links."""
    return rows * (dim * np.dtype(dtype).itemsize + BESIDE)


class _Columns:
    """All of some rows but their vectors, as they come."""

    def __init__(self) -> None:
        self.products: list[bytes] = []
        self.instances: list[bytes] = []
        self.price, self.updated = array("d"), array("q")
        self.keys: dict[str, dict[str, int]] = {field: {} for field in POSTED}
        self.links = {field: (array("i"), array("i")) for field in POSTED}

    def add(self, row: Row) -> None:
        number, product = len(self.products), row["product_id"].encode()
        if product.endswith(b"\0"):
            raise BadVector(f"product id {row['product_id']!r} ends in a zero byte: its rows cannot be kept in arrays")
        self.products.append(product)
        self.instances.append(row["instance_id"].encode())
        self.price.append(row["price"])
        self.updated.append(row["updated_at"])
        for field in POSTED:
            value = row[field]
            keys, rows = self.links[field]
            known = self.keys[field]
            for key in (value,) if isinstance(value, str) else dict.fromkeys(value):
                if key:
                    keys.append(known.setdefault(key, len(known)))
                    rows.append(number)

    def arrays(self) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        links = {
            field: (np.array(keys, np.int32), np.array(rows, np.int32)) for field, (keys, rows) in self.links.items()
        }
        price, updated = np.array(self.price, np.float64), np.array(self.updated, np.int64)
        return assembled(self.products, self.instances, price, updated, links)


def gathered(rows: Iterable[Row], dim: int) -> Rows:
    """Rows in memory.

    Args:
        rows: with `FIELDS`.
        dim: of their vectors.
    """
    columns, vectors = _Columns(), list[Any]()
    for row in rows:
        columns.add(row)
        vectors.append(row[VECTOR])
    order, arrays = columns.arrays()
    held = np.asarray(vectors, np.float32).reshape(len(vectors), dim)[order]
    return _rows(held, None, {**arrays, "scale": _scale(held)}, columns.keys)


def write(
    folder: Path,
    batches: Iterable[Iterable[Row]],
    dim: int,
    dtype: str,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the rows of the batches to a new folder; how many there were.

    Args:
        folder: that does not exist yet; there is nothing of it where this fails.
        batches: of rows with `FIELDS`.
        dim: of the vectors.
        dtype: "float32" or "float16": how those are kept that searches scan.
        progress: is told how many rows were read.

    Raises:
        BadVector: a row that arrays cannot hold.
    """
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        columns = _Columns()
        with (draft / "stream").open("wb") as stream:
            for batch in batches:
                for row in batch:
                    columns.add(row)
                    stream.write(np.asarray(row[VECTOR], np.float32).tobytes())
                if progress:
                    progress(len(columns.products))
        order, arrays = columns.arrays()
        arrays["scale"] = _ordered(draft, order, dim, dtype)
        (draft / "stream").unlink()
        for name, values in arrays.items():
            np.save(draft / f"{name}.npy", values)
        keys = {field: list(known) for field, known in columns.keys.items()}
        (draft / "keys.json").write_text(json.dumps(keys, ensure_ascii=False), encoding="utf-8")
        for path in draft.iterdir():  # after a power cut, too, what is there is whole
            with path.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(draft, folder)
        return len(order)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def mapped(folder: Path) -> Rows:
    """The rows of a folder; its large arrays stay on disk and are read as they are needed."""
    keys = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
    names = [*ARRAYS, *(f"{field}_{part}" for field in POSTED for part in ("starts", "rows"))]
    arrays = {name: _mapped(folder / f"{name}.npy") for name in names}
    numbered = {field: {key: number for number, key in enumerate(known)} for field, known in keys.items()}
    scan = folder / "scan.npy"
    return _rows(_mapped(folder / "vectors.npy"), _mapped(scan) if scan.exists() else None, arrays, numbered)


def _ordered(draft: Path, order: NDArray[np.int64], dim: int, dtype: str) -> NDArray[np.float32]:
    """Put the vectors of `stream` into their order; 1 / length of each."""
    size = len(order)
    scale = np.zeros(size, np.float32)
    shape = (size, dim)
    kept = _room(draft / "vectors.npy", np.float32, shape)
    scan = _room(draft / "scan.npy", np.float16, shape) if dtype == "float16" else None
    came = np.memmap(draft / "stream", np.float32, "r", shape=shape) if size else np.zeros(shape, np.float32)
    for start in range(0, size, COPY):
        stop = min(start + COPY, size)
        vectors = came[order[start:stop]]
        kept[start:stop] = vectors
        scale[start:stop] = _scale(vectors)
        if scan is not None:
            scan[start:stop] = vectors * scale[start:stop, None]
    kept.flush()
    if scan is not None:
        scan.flush()
    return scale


def _room(path: Path, dtype: type[np.floating[Any]], shape: tuple[int, int]) -> np.memmap[Any, Any]:
    """A mapped file whose room is taken: a full disk raises here; a write to a mapped hole would end the process."""
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return array


def _scale(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    if len(lengths) and not LENGTHS[0] < lengths.min() <= lengths.max() < LENGTHS[1]:
        raise BadVector(f"vectors of lengths {lengths.min():g} to {lengths.max():g}: not within {LENGTHS}")
    return (1 / lengths).astype(np.float32)


def _mapped(path: Path) -> NDArray[Any]:
    """As a plain array over the map: a `memmap` costs at each slice."""
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except ValueError:  # nothing can be mapped of an empty file
        return np.asarray(np.load(path))


def _rows(
    vectors: NDArray[np.float32],
    scan: NDArray[np.float16] | None,
    arrays: Mapping[str, NDArray[Any]],
    keys: Mapping[str, Mapping[str, int]],
) -> Rows:
    postings = {field: Postings(keys[field], arrays[f"{field}_starts"], arrays[f"{field}_rows"]) for field in POSTED}
    return Rows(vectors=vectors, scan=scan, postings=postings, **{name: arrays[name] for name in ARRAYS})
