"""Pictures with several products of `tests.shop.draw` on a plain ground, and a shop of five such products."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from kg.stores import Stores
from tests.api.test_search import TITLES, embed
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny

__all__ = ["SIDE", "data", "fill", "scene"]

SIDE = 64
GROUND = (127, 127, 127)
Corner = tuple[int, int]
Boxes = list[tuple[float, float, float, float]]


def fill(stores: Stores, folder: Path, *, detector: bool = True) -> Path:
    """Products p0 to p4, priced 5 to 45, embedded by an encoder with or without a detector; the checkpoint."""
    for n, title in enumerate(TITLES[:5]):
        put(stores.graph, f"p{n}", title=title, pictures=[draw(folder / f"{n}.png", n)], price=10.0 * n + 5)
    checkpoint = write_tiny(folder / "seer", detector=detector)
    embed(stores, checkpoint)
    return checkpoint


def scene(
    folder: Path, products: Sequence[int], *, size: Corner = (400, 120), ground: Any = GROUND
) -> tuple[Image.Image, Boxes]:
    """The products side by side, and the box of each in pixels."""
    image, boxes = Image.new("RGB", size, ground), []
    for place, number in enumerate(products):
        x, y = 20 + place * (SIDE + 30), 10 + 7 * place
        image.paste(Image.open(draw(folder / f"{number}.png", number)), (x, y))
        boxes.append((float(x), float(y), float(x + SIDE), float(y + SIDE)))
    return image, boxes


def data(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
