"""Backgrounds of composed scenes, varied, so that no background is what tells a product."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["backdrop"]

Pixels = NDArray[np.float32]


def backdrop(rng: np.random.Generator, size: int, donor: NDArray[np.uint8] | None = None) -> Pixels:
    """A background of (size, size, 3) float32, 0 … 255.

    Plain, a gradient, soft blotches, stripes or checks, a wall over a floor of two of these, or a blurred or tiled part
    of a photo.

    Args:
        rng: decides everything.
        size: pixels of a side.
        donor: (h, w, 3), a piece of some photo; None: no photo is used.
    """
    kinds = [_plain, _gradient, _blotches, _stripes, _wall]
    chosen = int(rng.choice(len(kinds) + 2, p=[0.12, 0.12, 0.12, 0.12, 0.26, 0.18, 0.08]))
    if chosen < len(kinds):
        return kinds[chosen](rng, size)
    if donor is None or min(donor.shape[:2]) < 4:
        return _wall(rng, size)
    return _blurred(rng, size, donor) if chosen == len(kinds) else _tiled(rng, size, donor)


def _colour(rng: np.random.Generator) -> Pixels:
    """Mostly what walls and paper have: light, hardly coloured."""
    if rng.random() < 0.35:
        return rng.uniform(20, 245, 3).astype(np.float32)
    return np.float32(rng.choice([rng.uniform(200, 255), rng.uniform(60, 220)])) + rng.uniform(-18, 18, 3).astype(
        np.float32
    )


def _plain(rng: np.random.Generator, size: int) -> Pixels:
    return np.full((size, size, 3), _colour(rng), np.float32)


def _gradient(rng: np.random.Generator, size: int) -> Pixels:
    corners = np.stack([_colour(rng) for _ in range(4)]).reshape(2, 2, 3)
    return cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def _blotches(rng: np.random.Generator, size: int) -> Pixels:
    cells = int(rng.integers(3, 40))
    noise = rng.normal(0, rng.uniform(5, 35), (cells, cells, 1)).astype(np.float32)
    return _colour(rng) + cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)[:, :, None]


def _stripes(rng: np.random.Generator, size: int) -> Pixels:
    """Boards, tiles, checks."""
    along = np.arange(size, dtype=np.float32)
    waves = [
        np.where((along / period + rng.random()) % 1 < rng.uniform(0.06, 0.5), 1.0, 0.0).astype(np.float32)
        for period in rng.uniform(size / 24, size / 3, 2)
    ]
    pattern = np.broadcast_to(waves[0][None, :], (size, size))
    if rng.random() < 0.5:
        pattern = np.maximum(pattern, waves[1][:, None])
    if rng.random() < 0.5:
        pattern = pattern.T
    one = _colour(rng)
    other = one + rng.uniform(-60, 60) if rng.random() < 0.7 else _colour(rng)
    return one + pattern[:, :, None] * (other - one).astype(np.float32)


def _wall(rng: np.random.Generator, size: int) -> Pixels:
    """A wall over a floor or a table."""
    kinds = [_plain, _gradient, _blotches, _stripes]
    ground = kinds[int(rng.integers(4))](rng, size)
    floor = kinds[int(rng.integers(4))](rng, size)
    edge = int(size * rng.uniform(0.45, 0.85))
    ground[edge:] = floor[edge:]
    return ground


def _piece(rng: np.random.Generator, donor: NDArray[np.uint8], least: float) -> Pixels:
    height, width = donor.shape[:2]
    high, wide = (max(2, int(side * rng.uniform(least, 1))) for side in (height, width))
    y, x = int(rng.integers(0, height - high + 1)), int(rng.integers(0, width - wide + 1))
    return donor[y : y + high, x : x + wide].astype(np.float32)


def _blurred(rng: np.random.Generator, size: int, donor: NDArray[np.uint8]) -> Pixels:
    large = cv2.resize(_piece(rng, donor, 0.3), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(large, (0, 0), float(rng.uniform(2, 10)) * size / 320), np.float32)


def _tiled(rng: np.random.Generator, size: int, donor: NDArray[np.uint8]) -> Pixels:
    """Wallpaper, fabric, shelves of the same thing."""
    side = int(size * rng.uniform(0.08, 0.3))
    tile = cv2.resize(_piece(rng, donor, 0.2), (side, side), interpolation=cv2.INTER_AREA)
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)  # mirrored: no seams
    tile = np.concatenate([tile, tile[::-1]])
    times = -(-size // tile.shape[0])
    return np.tile(tile, (times, times, 1))[:size, :size].astype(np.float32)
