"""Small files in the form of Fashion-Gen's, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from kg.catalogue.fashiongen import IMAGE, KEYS, View

__all__ = ["some_views", "write_fashiongen"]

SUBCATEGORIES = ("sneakers", "boots", "jeans")


def some_views(products: int, *, first: int = 0) -> list[View]:
    """One to three views each; the products' ids count from `first`."""
    found: list[View] = []
    for number in range(first, first + products):
        kind = number % len(SUBCATEGORIES)
        said = {
            "product": str(1000 + number),
            "name": f"Café no {number}",
            "description": f"{SUBCATEGORIES[kind]} in colour {number % 7}, style {number}",
            "brand": f"Maison {number % 4}",
            "category": "shoes" if kind < 2 else "trousers",
            "subcategory": SUBCATEGORIES[kind],
            "season": "SS2015",
            "composition": "100% cotton",
            "gender": "women",
        }
        found += [View(len(found) + view, **said) for view in range(1 + number % 3)]
    return found


def write_fashiongen(
    path: Path,
    views: Sequence[View],
    *,
    side: int = 48,
    leave_out: str = "",
    instead: Mapping[str, object] | None = None,
) -> Path:
    """A file of these views, its picture a colour of the product and a bar of the view; without one key, or with other
    values for some."""
    with h5py.File(path, "w") as file:
        pictures = np.zeros((len(views), side, side, 3), np.uint8)
        for picture, view in zip(pictures, views, strict=True):
            picture[:] = np.random.default_rng(int(view.product)).integers(60, 255, 3)
            picture[: 2 + view.row % 3] = 0
        columns: dict[str, object] = {IMAGE: pictures}
        for field, key in KEYS.items():
            values = [getattr(view, field) for view in views]
            column = [[int(value)] for value in values] if field == "product" else None
            columns[key] = np.array(column) if column else np.array([[value.encode("latin-1")] for value in values])
        columns |= instead or {}
        for key, values in columns.items():
            if key != leave_out:
                file[key] = values
    return path
