from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from encoders.regions.foreground import Cutout, cutout, rectangle
from tests.encoders.regions.conftest import pattern


def disc(ground: Image.Image) -> Image.Image:
    ImageDraw.Draw(ground).ellipse((30, 40, 89, 79), fill=(200, 30, 30))
    return ground


def covers(found: Cutout | None, width: int, height: int) -> None:
    """It is the disc of about this size: red where opaque, and about as much of it as an ellipse."""
    assert found is not None
    assert abs(found.pixels.shape[1] - width) <= 3
    assert abs(found.pixels.shape[0] - height) <= 3
    solid = found.pixels[:, :, 3] > 127
    assert abs(solid.mean() - np.pi / 4) < 0.05
    assert np.abs(found.pixels[solid][:, :3].astype(int).mean(axis=0) - (200, 30, 30)).max() < 8
    assert solid.any(axis=0).all()
    assert solid.any(axis=1).all()


@pytest.mark.parametrize("ground", ["white", "black", (120, 160, 200)])
def test_clean_background(ground: str) -> None:
    covers(cutout(disc(Image.new("RGB", (120, 120), ground))), 60, 40)


def test_noise_of_the_background_is_no_product() -> None:
    noise = np.random.default_rng(0).integers(245, 256, (120, 120, 3), np.uint8)
    covers(cutout(disc(Image.fromarray(noise))), 60, 40)


def test_a_gradient_needs_grabcut() -> None:
    ramp = np.linspace(60, 230, 120)[None, :, None] * np.ones((120, 1, 3))
    covers(cutout(disc(Image.fromarray(ramp.astype(np.uint8)))), 60, 40)


def test_what_the_background_encloses_belongs_to_the_product() -> None:
    image = disc(Image.new("RGB", (120, 120), "white"))
    ImageDraw.Draw(image).ellipse((50, 52, 68, 66), fill="white")
    found = cutout(image)
    assert found is not None
    assert abs((found.pixels[:, :, 3] > 127).mean() - np.pi / 4) < 0.05


def test_specks_are_left_out() -> None:
    image = disc(Image.new("RGB", (120, 120), "white"))
    image.putpixel((3, 3), (0, 0, 0))
    image.putpixel((110, 100), (0, 0, 0))
    covers(cutout(image), 60, 40)


def test_large_pictures_are_scaled() -> None:
    covers(cutout(disc(Image.new("RGB", (120, 120), "white")).resize((1920, 1920))), 96, 64)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (100, 100), "red"),
        Image.new("RGB", (1, 1)),
        Image.new("RGB", (3, 2)),
        Image.new("RGB", (1, 5000), "blue"),
        Image.new("RGB", (5000, 1), "blue"),
        pattern(0),
    ],
    ids=["one colour", "one pixel", "tiny", "tall", "wide", "pattern"],
)
def test_where_nothing_stands_out(image: Image.Image) -> None:
    assert cutout(image) is None


def test_twice_the_same() -> None:
    ramp = np.linspace(60, 230, 120)[None, :, None] * np.ones((120, 1, 3))
    image = disc(Image.fromarray(ramp.astype(np.uint8)))
    first, second = cutout(image), cutout(image)
    assert first is not None
    assert second is not None
    assert (first.pixels == second.pixels).all()


def test_rectangle_is_the_picture() -> None:
    found = rectangle(pattern(1))
    assert found is not None
    assert (found.pixels[:, :, 3] == 255).all()
    assert (found.pixels[:, :, :3] == np.array(pattern(1))).all()
    assert rectangle(Image.new("RGB", (50, 50), "red")) is None
    assert rectangle(Image.new("RGB", (1, 5000))) is None
