"""Photographs a drawn product: background, light, turn, distance; and several of them together as a scene."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = ["Boxes", "photograph", "scene"]

SIDE = 240
SCENE = (480, 320)
Boxes = list[tuple[int, int, int, int]]


def photograph(product: Image.Image, chance: random.Random, *, hard: bool = False) -> Image.Image:
    """RGB, 240 x 240 pixels.

    Args:
        product: RGBA, as `packaging.draw` makes it.
        chance: decides the rest.
        hard: as a customer takes it at home: never a studio, turned and lit more freely, a little soft.
    """
    studio = not hard and chance.random() < 0.4
    ground = _studio(chance) if studio else _room((SIDE, SIDE), chance)
    turn = chance.gauss(0, 2 if studio else 12 if hard else 6)
    share = chance.uniform(0.8, 0.92) if studio else chance.uniform(0.55, 0.85)
    cut = _lit(_placed(product, share * SIDE, turn), chance, 0.06 if studio else 0.22 if hard else 0.14)
    free = (SIDE - cut.width, SIDE - cut.height)
    spread = 0.1 if studio else 0.5
    at = (
        round(free[0] * (0.5 + spread * chance.uniform(-0.9, 0.9))),
        round(free[1] * (0.5 + spread * chance.uniform(-0.3, 0.9))),
    )
    _put(ground, cut, at)
    image = ground
    if hard:
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, 1.1)))
    return image if studio else _graded(image, chance)


def scene(products: Sequence[Image.Image], chance: random.Random) -> tuple[Image.Image, Boxes]:
    """Products side by side on a shelf or table, RGB 480 x 320 pixels, and the box of each in pixels."""
    ground = _room(SCENE, chance)
    slot = (SCENE[0] - 30) / len(products)
    boxes: Boxes = []
    for number, product in enumerate(products):
        cut = _placed(product, chance.uniform(0.55, 0.78) * SCENE[1] * product.height / 320, chance.gauss(0, 2))
        if cut.width > slot * 1.1:  # neighbours may overlap a little, as on a real shelf
            cut = cut.resize((round(slot * 1.1), round(cut.height * slot * 1.1 / cut.width)))
        cut = _lit(cut, chance, 0.08)
        x = round(15 + slot * number + (slot - cut.width) / 2)
        y = round(SCENE[1] * 0.93 - cut.height + chance.uniform(-8, 8))
        x, y = max(0, min(x, SCENE[0] - cut.width)), max(0, min(y, SCENE[1] - cut.height))
        _put(ground, cut, (x, y))
        boxes.append((x, y, x + cut.width, y + cut.height))
    return _graded(ground, chance), boxes


def _placed(product: Image.Image, height: float, turn: float) -> Image.Image:
    scale = min(height / product.height, SIDE * 0.92 / product.width)
    size = (max(1, round(product.width * scale)), max(1, round(product.height * scale)))
    sized = product.resize(size, Image.Resampling.LANCZOS)
    turned = sized.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    turned = turned.crop(turned.getbbox())
    return (
        turned
        if turned.height <= SIDE and turned.width <= SIDE
        else turned.resize((min(turned.width, SIDE), min(turned.height, SIDE)))
    )


def _lit(cut: Image.Image, chance: random.Random, strength: float) -> Image.Image:
    pixels = np.asarray(cut).astype(np.float32)
    tint = np.array([1 + chance.gauss(0, strength / 3), 1, 1 + chance.gauss(0, strength / 3)], np.float32)
    pixels[..., :3] = (pixels[..., :3] * tint * (1 + chance.gauss(0, strength))).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _put(ground: Image.Image, cut: Image.Image, at: tuple[int, int]) -> None:
    alpha = cut.getchannel("A")
    foot = alpha.crop((0, int(cut.height * 0.86), *cut.size)).point(lambda value: value * 0.45)
    pad = Image.new("L", (cut.width + 40, foot.height + 40))
    pad.paste(foot, (20, 20))
    ground.paste((20, 16, 14), (at[0] - 16, at[1] + cut.height - foot.height - 14), pad.filter(ImageFilter.BoxBlur(7)))
    ground.paste(cut, at, alpha)


def _studio(chance: random.Random) -> Image.Image:
    level = chance.uniform(236, 255)
    ramp = np.linspace(0, chance.uniform(-18, 0), SIDE, dtype=np.float32)
    return _image(np.broadcast_to((level + ramp)[:, None, None], (SIDE, SIDE, 3)))


WALLS = ((214, 206, 196), (188, 200, 208), (222, 212, 184), (170, 180, 164), (206, 188, 186), (120, 128, 138))
TABLES = ((156, 112, 70), (206, 172, 128), (96, 70, 52), (216, 214, 210), (70, 74, 80), (178, 160, 140))


def _room(size: tuple[int, int], chance: random.Random) -> Image.Image:
    """A wall above a table: wood with its grain, stone with its specks, tiles, or plain."""
    width, height = size
    grain = np.random.default_rng(chance.getrandbits(32))
    pixels = np.empty((height, width, 3), np.float32)
    pixels[:] = chance.choice(WALLS)
    if chance.random() < 0.35:  # tiles
        step = chance.choice((30, 40, 60))
        pixels[::step] -= 26
        pixels[:, ::step] -= 26
    edge = round(height * chance.uniform(0.55, 0.8))
    pixels[edge:] = chance.choice(TABLES)
    if chance.random() < 0.6:
        rows = _smooth(grain.normal(0, 1, (height - edge, max(2, width // 40))), width)
        pixels[edge:] += 9 * rows[..., None]
    else:
        pixels[edge:] += 10 * grain.normal(0, 1, (height - edge, width, 1))
    pixels[edge : edge + 2] -= 30
    for _ in range(chance.randint(0, 4)):  # things out of focus behind
        x, top, wide = chance.randrange(width), chance.randrange(max(1, edge - 20)), chance.randint(14, 60)
        pixels[top:edge, x : x + wide] = pixels[top:edge, x : x + wide] * 0.45 + 0.55 * np.array(
            [chance.randint(60, 230) for _ in range(3)], np.float32
        )
    soft = _image(pixels).filter(ImageFilter.BoxBlur(chance.choice((0, 1, 2))))
    return soft


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    at = np.linspace(0, values.shape[1] - 1, width)
    left = at.astype(int).clip(max=values.shape[1] - 2)
    share = at - left
    return values[:, left] * (1 - share) + values[:, left + 1] * share


def _graded(image: Image.Image, chance: random.Random) -> Image.Image:
    """The whole picture under one lamp: brighter on one side, warmer or colder, with sensor noise."""
    pixels = np.asarray(image).astype(np.float32)
    height, width = pixels.shape[:2]
    lamp = chance.uniform(-0.16, 0.16) * np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    lamp = lamp + chance.uniform(-0.1, 0.06) * np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    warm = chance.gauss(0, 0.04)
    tint = np.array([1 + warm, 1, 1 - warm], np.float32)
    noise = np.random.default_rng(chance.getrandbits(32)).standard_normal((height, width, 1), np.float32)
    return _image(pixels * (1 + lamp) * tint * chance.uniform(0.88, 1.08) + noise * chance.uniform(0, 5))


def _image(pixels: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
