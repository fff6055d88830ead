"""The two files of Fashion-Gen (HDF5): a row a view, that is one picture of a product with all that is said of it.

    fashiongen_256_256_train.h5, fashiongen_256_256_validation.h5

`input_image` is (N, height, width, 3) uint8; every other key is a column of N texts (bytes in Latin-1, (N, 1); UTF-8
where the file says that they are) or, the product's id, of numbers. Keys that are not named here are not looked at.
Needs h5py (extra `fashiongen`). Pictures are read one at a time, texts a few thousand rows at a time: a file may be
larger than the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from kg.errors import BadInput
from kg.records import Entity

__all__ = ["IMAGE", "KEYS", "View", "find_files", "open_view", "read_fashiongen"]

IMAGE = "input_image"
KEYS = {
    "product": "input_productID",
    "name": "input_name",
    "description": "input_description",
    "brand": "input_brand",
    "category": "input_category",
    "subcategory": "input_subcategory",
    "season": "input_season",
    "composition": "input_composition",
    "gender": "input_gender",
}  # of a view → in the file
PARTS = {"train": "train", "validation": "val"}  # how a file's name ends → its part
ROWS = 4096  # texts read at a time
LONGEST = 200  # characters of an entity; a longer composition names none
TAGS = ("season", "composition", "gender")  # attributes; brand and categories have types of their own


@dataclass(frozen=True)
class View:
    """One row.

    Attributes:
        row: its number in the file, from 0.
        product: id of the product; its views follow each other, which nothing here relies on.
    """

    row: int
    product: str
    name: str
    description: str
    brand: str
    category: str
    subcategory: str
    season: str
    composition: str
    gender: str

    def entities(self) -> tuple[Entity, ...]:
        """What the fields state: brand, category with the one above it, season, composition, gender."""
        path = tuple(part for part in (self.category, self.subcategory) if part)
        found = [Entity(type="brand", text=self.brand)] if self.brand else []
        found += [Entity(type="category", text=path[-1], path=path)] if path else []
        for tag in TAGS:
            value = str(getattr(self, tag))
            if value and len(value) <= LONGEST:
                found.append(Entity(type=tag, text=value))
        return tuple(found)


def find_files(data: Path) -> dict[str, Path]:
    """The files of a folder by their part, `train` and `val`: names that end in `train.h5` and `validation.h5`.

    Raises:
        BadInput: no such folder, or not exactly one of each.
    """
    if not data.is_dir():
        raise BadInput(f"no folder {data}", hint="it holds fashiongen_256_256_train.h5 and …_validation.h5")
    found: dict[str, Path] = {}
    for ending, part in PARTS.items():
        files = sorted(data.glob(f"*{ending}.h5"))
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise BadInput(f"{data}: one file whose name ends in {ending}.h5 is due, found {names}")
        found[part] = files[0]
    return found


def read_fashiongen(path: Path) -> Iterator[View]:
    """Views in the order of the file.

    Raises:
        BadInput: no such file, not HDF5, a key missing, a column of another shape or kind than the others need, or
            texts that are not in their column's encoding.
    """
    with _open(path) as file:
        count = _checked(path, file)
        encodings = {key: _encoding(file[key]) for key in KEYS.values()}
        for start in range(0, count, ROWS):
            stop = min(start + ROWS, count)
            columns = []
            for key, encoding in encodings.items():
                try:
                    columns.append(_texts(file[key][start:stop].reshape(-1), encoding))
                except UnicodeDecodeError as error:
                    raise BadInput(f"{path}, rows {start} to {stop - 1}: {key} is not the {encoding} that it says it "
                                   f"is ({error})") from error  # fmt: skip
            for row, values in enumerate(zip(*columns, strict=True), start):
                if not values[0]:
                    raise BadInput(f"{path}, row {row}: {KEYS['product']} is empty; every view needs a product")
                yield View(row, *values)


def open_view(path: Path, row: int) -> Image.Image:
    """The picture of a row, RGB.

    Raises:
        BadInput: as `read_fashiongen`; no such row.
    """
    pictures = _kept(path, os.getpid())[IMAGE]
    if not 0 <= row < len(pictures):
        raise BadInput(f"{path}: no row {row}; it has 0 to {len(pictures) - 1}")
    return Image.fromarray(pictures[row])


@lru_cache(maxsize=4)
def _kept(path: Path, process: int) -> Any:
    """The file, open for as long as the process runs: one that a fork inherits is no good to the child."""
    file = _open(path)
    _checked(path, file)
    return file


def _open(path: Path) -> Any:
    try:
        import h5py  # only who reads these files needs it
    except ImportError as error:
        raise BadInput(f"{path}: reading HDF5 needs h5py", hint="pip install 'skugraph[fashiongen]'") from error
    if not path.is_file():
        raise BadInput(f"no file {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise BadInput(f"{path} is not HDF5 ({error})") from error


def _checked(path: Path, file: Any) -> int:
    """Number of rows; every column fits the pictures."""
    if lacking := [key for key in (IMAGE, *KEYS.values()) if key not in file]:
        raise BadInput(f"{path} lacks {', '.join(lacking)}; it has {', '.join(sorted(file)) or 'nothing'}")
    pictures = file[IMAGE]
    shape = tuple(getattr(pictures, "shape", ()))
    if len(shape) != 4 or shape[3] != 3 or str(pictures.dtype) != "uint8":
        kind = getattr(pictures, "dtype", "a group")
        raise BadInput(f"{path}: {IMAGE} is {shape} of {kind}; (N, height, width, 3) of uint8 is due")
    for key in KEYS.values():
        column = tuple(getattr(file[key], "shape", ()))
        if column not in ((shape[0], 1), (shape[0],)):
            raise BadInput(f"{path}: {key} is {column}; {IMAGE} has {shape[0]} rows, so ({shape[0]}, 1) is due")
        if file[key].dtype.kind not in "SOUiu":
            raise BadInput(f"{path}: {key} is of {file[key].dtype}; texts, or whole numbers, are due")
    return int(shape[0])


def _encoding(column: Any) -> str:
    """Of a column of bytes: UTF-8 where HDF5 says so. "ASCII" says nothing: it is what is said of any bytes."""
    import h5py

    kind = h5py.check_string_dtype(column.dtype)
    return "utf-8" if kind is not None and kind.encoding == "utf-8" else "latin-1"


def _texts(values: Any, encoding: str) -> list[str]:
    """Bytes decoded, anything else as it is written; without white space at the ends. Views repeat what is said of
    their product: of these values equal ones are one text."""
    found, known = [], dict[object, str]()
    for value in values:
        if value not in known:
            known[value] = (value.decode(encoding) if isinstance(value, bytes) else str(value)).strip()
        found.append(known[value])
    return found
