"""Coloured shapes with a caption each: small, drawn here, and learnable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from PIL import Image, ImageDraw

from encoders.data import TrainItem

settings.register_profile("untimed", deadline=None)  # a loaded machine is no bug
settings.load_profile("untimed")

COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("circle", "square", "cross")


def draw(colour: str, shape: str, number: int) -> Image.Image:
    image = Image.new("RGB", (96, 96), "white")
    pen, shift = ImageDraw.Draw(image), 3 * (number % 5)
    box = (20 + shift, 20, 70 + shift, 70)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.line(box, fill=colour, width=10)
        pen.line((box[0], box[3], box[2], box[1]), fill=colour, width=10)
    return image


@pytest.fixture(scope="session")
def items() -> list[TrainItem]:
    """108 items, six of each kind; all of a kind have the same text."""
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    return [
        TrainItem(
            f"{colour}-{shape}-{n}", f"{colour}-{shape}-{n}", f"a {colour} {shape}", partial(draw, colour, shape, n)
        )
        for colour, shape in kinds
        for n in range(6)
    ]


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One feature cache for the session."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def trained(items: list[TrainItem], features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a short training."""
    from encoders.training import train

    folder = tmp_path_factory.mktemp("trained") / "clip"
    train("clip_style", items, folder, config="clip_style_tiny", epochs=8, device="cpu", cache=features)
    return folder


@pytest.fixture
def pictures(items: list[TrainItem]) -> Callable[[int], list[Image.Image]]:
    return lambda count: [item.open_picture() for item in items[:count]]
