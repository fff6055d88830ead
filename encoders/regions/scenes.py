"""Scenes of several products, composed of pictures of single ones: the boxes are known because we put them there.

Copy and paste, as in CAPTURE (Zhan et al., "Product1M", ICCV 2021) and Ghiasi et al., "Simple Copy-Paste" (CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from encoders.regions.backdrops import backdrop
from encoders.regions.boxes import iou
from encoders.regions.foreground import Cutout, cutout, rectangle
from kg.errors import BadInput, BadPicture, TooLarge

__all__ = ["LABELS", "Opener", "Scene", "compose", "scenes"]

Opener = Callable[[], Image.Image]
# Queries of Product1M (dev and test) with 2 to 6 labels, and how many of them there are.
LABELS = {2: 3956, 3: 3193, 4: 1138, 5: 542, 6: 35}
CAP = 0.3  # of the IoU of two boxes
SEEN = 0.5  # share of a product that later ones leave to be seen
SIZES = 0.08, 0.62  # side of the square of a product's box, as a share of the scene's side
TRIES = 60
KEPT = 4096  # cut-outs in memory, some 60 kB each


@dataclass(frozen=True)
class Scene:
    """A picture of several products.

    Attributes:
        image: RGB, size x size pixels.
        boxes: (n, 4) float32 pixels; each bounds what was pasted of the product inside the scene.
        members: (n,) index of each product in what was given.
    """

    image: Image.Image
    boxes: NDArray[np.float32]
    members: NDArray[np.int64]


@dataclass(frozen=True)
class _Placed:
    pixels: NDArray[np.uint8]  # RGBA, cut at the edge of the scene
    x: int
    y: int
    box: NDArray[np.float32]


def scenes(
    sources: Sequence[Cutout | Opener],
    *,
    number: int,
    size: int = 320,
    seed: int = 0,
    sizes: tuple[float, float] = SIZES,
    rectangles: bool | None = None,
) -> Iterator[Scene]:
    """Composes scenes of 2 to 6 products, as many as the queries of Product1M have (`LABELS`).

    Every product comes up equally often: they are dealt from a shuffled deck. Pictures that cannot be read are left
    out. The same arguments give the same scenes.

    Args:
        sources: cut-outs, or functions that open pictures of single products.
        number: of scenes.
        size: pixels of a side.
        seed: decides the rest.
        sizes: least and largest side of a product, as a share of the scene's.
        rectangles: paste the whole picture where no product can be cut out (else it is left out); None: where most
            pictures are such.

    Raises:
        BadInput: fewer than two pictures can be used.
    """
    if rectangles is None:
        rectangles = _mostly_uncut(sources)
    rng = np.random.default_rng([seed, 1])
    counts, shares = np.array(list(LABELS)), np.array(list(LABELS.values()), float)

    @lru_cache(maxsize=KEPT)
    def cut(index: int) -> Cutout | None:
        return _cut(sources[index], rectangles)

    deck = _deck(len(sources), rng)
    waiting: list[int] = []  # dealt too early: already in the scene
    for n in range(number):
        chosen: list[int] = []
        wanted, refused = int(rng.choice(counts, p=shares / shares.sum())), 0
        while len(chosen) < wanted and refused < 2 * len(sources):
            index = next((i for i in waiting if i not in chosen), None)
            if index is not None:
                waiting.remove(index)
            else:
                index = next(deck)
            if index in chosen:
                waiting.append(index)
                refused += 1
            elif cut(index) is None:
                refused += 1
            else:
                chosen.append(index)
        if len(chosen) < 2:
            raise BadInput(
                f"{len(chosen)} of {len(sources)} pictures show a product that can be cut out, scenes need 2",
                hint="give more pictures, or rectangles=True",
            )
        found = compose(
            [c for i in chosen if (c := cut(i)) is not None],
            np.random.default_rng([seed, 2, n]),
            size=size,
            sizes=sizes,
        )
        yield Scene(found.image, found.boxes, np.array(chosen, np.int64)[found.members])


def compose(
    cutouts: Sequence[Cutout], rng: np.random.Generator, *, size: int = 320, sizes: tuple[float, float] = SIZES
) -> Scene:
    """Pastes products onto a background, the large ones first.

    Their boxes overlap by an IoU of 0.3 at most, and half of each stays in sight; one that finds no room grows smaller,
    and one that still finds none is left out. All are mirrored and scaled at random, and squeezed or stretched
    together, as backbones squeeze pictures into a square.

    Args:
        cutouts: the products; `members` of the result are indices into it.
        rng: decides the rest.
        size: pixels of a side.
        sizes: as `scenes`.
    """
    donor = cutouts[int(rng.integers(len(cutouts)))].pixels if cutouts else None
    canvas = backdrop(rng, size, None if donor is None else _interior(donor))
    canvas = np.ascontiguousarray(np.clip(canvas, 0, 255))
    stretch = np.exp(rng.uniform(np.log(0.65), np.log(1.4)))
    sides = size * np.exp(rng.uniform(np.log(sizes[0]), np.log(sizes[1]), len(cutouts)))
    hidden = np.full((size, size), -1, np.int16)  # which product shows
    placed: dict[int, _Placed] = {}
    areas: dict[int, int] = {}
    for i in np.argsort(-sides, kind="stable"):
        found = _place(cutouts[i].pixels, float(sides[i]), stretch, size, rng, placed, areas, hidden)
        if found is None:
            continue
        placed[int(i)] = found
        solid = found.pixels[:, :, 3] > 127
        region = hidden[found.y : found.y + solid.shape[0], found.x : found.x + solid.shape[1]]
        region[solid] = i
        areas[int(i)] = int(solid.sum())
    shadows = rng.random() < 0.4
    for item in placed.values():
        if shadows:
            _shade(canvas, item, rng)
        _paste(canvas, item, rng)
    graded = _graded(canvas, rng)
    order = sorted(placed)
    boxes = np.array([placed[i].box for i in order], np.float32).reshape(-1, 4)
    return Scene(Image.fromarray(graded), boxes, np.array(order, np.int64))


def _cut(source: Cutout | Opener, rectangles: bool) -> Cutout | None:
    if isinstance(source, Cutout):
        return source
    image = _opened(source)
    return None if image is None else cutout(image) or (rectangle(image) if rectangles else None)


def _opened(source: Opener) -> Image.Image | None:
    try:
        return source()
    except (BadPicture, TooLarge):  # one in a catalogue must not end a training; its items are named there
        return None


def _mostly_uncut(sources: Sequence[Cutout | Opener], looked_at: int = 40) -> bool:
    openers = [source for source in sources if not isinstance(source, Cutout)]
    some = [image for source in openers[:: max(1, len(openers) // looked_at)] if (image := _opened(source))]
    return bool(some) and sum(cutout(image) is None for image in some) > len(some) / 2


def _deck(number: int, rng: np.random.Generator) -> Iterator[int]:
    while number:
        yield from (int(i) for i in rng.permutation(number))


def _place(
    pixels: NDArray[np.uint8],
    side: float,
    stretch: float,
    size: int,
    rng: np.random.Generator,
    placed: dict[int, _Placed],
    areas: dict[int, int],
    hidden: NDArray[np.int16],
) -> _Placed | None:
    """Seeks a place; None where there is none."""
    height, width = pixels.shape[:2]
    shape = np.sqrt(width / height) * stretch * np.exp(rng.uniform(-0.1, 0.1))
    mirrored = rng.random() < 0.5
    beyond = 0.15 if rng.random() < 0.2 else 0.0  # some are cut by the edge of the scene
    taken = np.array([other.box for other in placed.values()], np.float32).reshape(-1, 4)
    for attempt in range(TRIES):
        scale = side * 0.96**attempt
        wide, high = (int(np.clip(v, 6, size)) for v in (round(scale * shape), round(scale / shape)))
        x = int(rng.integers(-int(beyond * wide), size - wide + int(beyond * wide) + 1))
        y = int(rng.integers(-int(beyond * high), size - high + int(beyond * high) + 1))
        rough = np.array([[max(x, 0), max(y, 0), min(x + wide, size), min(y + high, size)]], np.float32)
        if len(taken) and iou(rough, taken).max() > CAP:
            continue
        scaled = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA if wide < width else cv2.INTER_LINEAR)
        if mirrored:
            scaled = scaled[:, ::-1]
        scaled = scaled[max(-y, 0) : size - y, max(-x, 0) : size - x]
        solid = scaled[:, :, 3] > 127
        rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        if not len(rows):
            continue
        top, left = rows[0], columns[0]
        scaled = scaled[top : rows[-1] + 1, left : columns[-1] + 1]
        at_x, at_y = max(x, 0) + int(left), max(y, 0) + int(top)
        box = np.array([at_x, at_y, at_x + scaled.shape[1], at_y + scaled.shape[0]], np.float32)
        if len(taken) and iou(box[None], taken).max() > CAP:
            continue
        found = _Placed(np.ascontiguousarray(scaled), at_x, at_y, box)
        if _leaves_others_in_sight(found, areas, hidden):
            return found
    return None


def _leaves_others_in_sight(found: _Placed, areas: dict[int, int], hidden: NDArray[np.int16]) -> bool:
    solid = found.pixels[:, :, 3] > 127
    region = hidden[found.y : found.y + solid.shape[0], found.x : found.x + solid.shape[1]]
    covered = region[solid]
    for i, whole in areas.items():
        left = int((hidden == i).sum()) - int((covered == i).sum()) if (covered == i).any() else None
        if left is not None and left < SEEN * whole:
            return False
    return True


def _interior(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a product: a piece of photo without outline."""
    height, width = pixels.shape[:2]
    return pixels[height // 4 : height - height // 4, width // 4 : width - width // 4, :3]


def _paste(canvas: NDArray[np.float32], item: _Placed, rng: np.random.Generator) -> None:
    high, wide = item.pixels.shape[:2]
    region = canvas[item.y : item.y + high, item.x : item.x + wide]
    alpha = item.pixels[:, :, 3:].astype(np.float32) / 255
    colours = item.pixels[:, :, :3].astype(np.float32) * np.float32(rng.uniform(0.75, 1.15))
    region += alpha * (np.minimum(colours, 255) - region)


def _shade(canvas: NDArray[np.float32], item: _Placed, rng: np.random.Generator) -> None:
    """A soft shadow on what lies behind, a little to the right or left and below."""
    size = canvas.shape[0]
    spread = max(1, round(0.05 * max(item.pixels.shape[:2])))
    padded = cv2.copyMakeBorder(item.pixels[:, :, 3], spread, spread, spread, spread, cv2.BORDER_CONSTANT, value=0)
    dark = cv2.GaussianBlur(padded, (0, 0), spread / 2).astype(np.float32)[:, :, None] / 255
    x = item.x - spread + int(rng.integers(-spread, spread + 1))
    y = item.y - spread + int(rng.integers(0, spread + 1))
    dark = dark[max(-y, 0) : max(size - y, 0), max(-x, 0) : max(size - x, 0)]
    region = canvas[max(y, 0) : max(y, 0) + dark.shape[0], max(x, 0) : max(x, 0) + dark.shape[1]]
    region *= 1 - np.float32(rng.uniform(0.2, 0.5)) * dark


def _graded(canvas: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The light, the softness and the noise of one photo over all that is in it."""
    canvas = canvas * (np.float32(rng.uniform(0.8, 1.1)) * (1 + rng.normal(0, 0.04, 3)).astype(np.float32))
    if rng.random() < 0.5:
        canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.3, 1.0))), np.float32)
    if rng.random() < 0.5:
        canvas = canvas + _noise(canvas.shape[0], rng)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _noise(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal((size, size, 1), np.float32) * np.float32(rng.uniform(1, 6))
