"""Catalogue pictures drawn here: a coloured shape on white, so that its outline is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from encoders.regions.scenes import Opener

SHAPES = ("ellipse", "rectangle", "cross")


def product(number: int) -> Image.Image:
    """120 x 120 pixels; two colours, one of three shapes."""
    chance = np.random.default_rng(number)
    image = Image.new("RGB", (120, 120), "white")
    pen = ImageDraw.Draw(image)
    one, two = (tuple(int(v) for v in chance.integers(0, 190, 3)) for _ in range(2))
    left, top = (int(v) for v in chance.integers(8, 40, 2))
    right, bottom = (int(v) for v in chance.integers(70, 112, 2))
    if number % 3 == 0:
        pen.ellipse((left, top, right, bottom), fill=one)
    elif number % 3 == 1:
        pen.rectangle((left, top, right, bottom), fill=one)
    else:
        pen.rectangle((left, (top + bottom) // 2 - 12, right, (top + bottom) // 2 + 12), fill=one)
        pen.rectangle(((left + right) // 2 - 12, top, (left + right) // 2 + 12, bottom), fill=one)
    middle = ((left + right) // 2, (top + bottom) // 2)
    pen.rectangle((middle[0] - 9, middle[1] - 9, middle[0] + 9, middle[1] + 9), fill=two)
    return image


def pattern(number: int) -> Image.Image:
    """A picture in which no product stands out."""
    noise = np.random.default_rng(number).integers(0, 256, (60, 60, 3), np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.7)).resize((120, 120))


@pytest.fixture(scope="session")
def openers() -> list[Opener]:
    """Fourteen products."""
    return [lambda n=n: product(n) for n in range(14)]  # type: ignore[misc]
