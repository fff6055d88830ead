from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from encoders.regions.boxes import iou
from encoders.regions.foreground import Cutout
from encoders.regions.scenes import CAP, LABELS, Opener, Scene, compose, scenes
from kg.errors import BadInput, BadPicture
from tests.encoders.regions.conftest import pattern, product


def flat(number: int, height: int = 60, width: int = 50) -> Cutout:
    """An ellipse in a colour of its own; its middle, of which backgrounds are made, is grey in all."""
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5) / width * 2 - 1) ** 2 + ((y + 0.5) / height * 2 - 1) ** 2 <= 1
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[:] = (20 + 40 * number, 255 - 40 * number, 128, 0)
    pixels[inside, 3] = 255
    pixels[height // 4 : height - height // 4, width // 4 : width - width // 4, :3] = 128
    return Cutout(pixels)


@pytest.fixture(scope="module")
def many(openers: list[Opener]) -> list[Scene]:
    return list(scenes(openers, number=150, size=128, seed=3))


def test_the_seed_decides_everything(openers: list[Opener]) -> None:
    first, again, other = (list(scenes(openers, number=6, size=96, seed=seed)) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        assert a.image.tobytes() == b.image.tobytes()
        assert (a.boxes == b.boxes).all()
        assert (a.members == b.members).all()
    assert all(a.image.tobytes() != b.image.tobytes() for a, b in zip(first, other, strict=True))


def test_a_longer_run_begins_as_the_shorter(openers: list[Opener]) -> None:
    few, more = list(scenes(openers, number=3, size=96)), list(scenes(openers, number=6, size=96))
    assert [s.image.tobytes() for s in few] == [s.image.tobytes() for s in more[:3]]


def test_overlap_stays_below_its_cap(many: list[Scene]) -> None:
    for scene in many:
        overlaps = iou(scene.boxes, scene.boxes) - np.eye(len(scene.boxes))
        assert overlaps.max() <= CAP + 1e-6


def test_boxes_lie_in_the_picture_and_hold_something(many: list[Scene]) -> None:
    boxes = np.concatenate([scene.boxes for scene in many])
    assert boxes.min() >= 0
    assert boxes.max() <= 128
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 3
    assert {scene.image.size for scene in many} == {(128, 128)}


def test_labels_follow_product1m(many: list[Scene]) -> None:
    counts = np.bincount([len(scene.boxes) for scene in many], minlength=8)
    assert counts[:2].sum() == counts[7:].sum() == 0
    wanted = np.array([LABELS[n] for n in range(2, 7)]) / sum(LABELS.values())
    assert np.abs(counts[2:7] / len(many) - wanted).max() < 0.12  # three standard deviations of 150 draws


def test_products_come_up_equally_often_and_once_a_scene(many: list[Scene]) -> None:
    assert all(len(set(scene.members.tolist())) == len(scene.members) for scene in many)
    times = np.bincount(np.concatenate([scene.members for scene in many]), minlength=14)
    assert times.max() - times.min() <= 3


def test_sizes_span_their_range(many: list[Scene]) -> None:
    sides = np.concatenate([np.sqrt(np.prod(s.boxes[:, 2:] - s.boxes[:, :2], axis=1)) for s in many]) / 128
    assert np.percentile(sides, 5) < 0.13
    assert np.percentile(sides, 95) > 0.45


@pytest.mark.parametrize("seed", range(12))
def test_boxes_bound_the_pasted_pixels(seed: int) -> None:
    """The same scene with one product in another colour: what changes is that product, and its box bounds it."""
    cutouts = [flat(n) for n in range(4)]
    scene = compose(cutouts, np.random.default_rng(seed), size=160)
    for place, member in enumerate(scene.members):
        changed = list(cutouts)
        pixels = cutouts[member].pixels.copy()
        pixels[:, :, :3] += 128  # uint8: it wraps around
        pixels[15:45, 12:38, :3] = 128
        changed[member] = Cutout(pixels)
        other = compose(changed, np.random.default_rng(seed), size=160)
        assert (other.boxes == scene.boxes).all()
        differs = np.abs(np.asarray(other.image, int) - np.asarray(scene.image, int)).max(axis=2) > 25
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        x1, y1, x2, y2 = scene.boxes[place]
        assert columns[0] >= x1 - 3  # the softness of the photo spreads a little
        assert columns[-1] < x2 + 3
        assert rows[0] >= y1 - 3
        assert rows[-1] < y2 + 3
        if len(scene.members) == 1 or iou(scene.boxes, scene.boxes).sum() == len(scene.boxes):  # nothing covers it
            assert columns[0] <= x1 + 3
            assert columns[-1] >= x2 - 4
            assert rows[0] <= y1 + 3
            assert rows[-1] >= y2 - 4


def test_half_of_each_product_stays_in_sight() -> None:
    hidden = 0
    for seed in range(20):
        scene = compose([flat(n, 40, 90) for n in range(6)], np.random.default_rng(seed), size=96, sizes=(0.3, 0.6))
        hidden += 6 - len(scene.boxes)
        for i, box in enumerate(scene.boxes):
            grid = np.zeros((96, 96), bool)
            x1, y1, x2, y2 = box.astype(int)
            grid[y1:y2, x1:x2] = True
            for j, (a, b, c, d) in enumerate(scene.boxes.astype(int)):
                if j != i and (c - a) * (d - b) < (x2 - x1) * (y2 - y1):
                    grid[b:d, a:c] = False
            assert grid.sum() > 0.2 * (x2 - x1) * (y2 - y1)  # of boxes, which cover more than what is in them
    assert hidden < 12


def test_pictures_without_outline_are_left_out_or_pasted_whole(openers: list[Opener]) -> None:
    mixed: list[Opener] = [*openers, lambda: pattern(0), lambda: Image.new("RGB", (9, 9))]
    assert max(int(s.members.max()) for s in scenes(mixed, number=20, size=96)) < 14
    seen = {int(m) for s in scenes(mixed, number=20, size=96, rectangles=True) for m in s.members}
    assert 14 in seen
    assert 15 not in seen
    patterns: list[Opener] = [lambda n=n: pattern(n) for n in range(6)]  # type: ignore[misc]
    assert len(list(scenes([*patterns, lambda: product(0)], number=3, size=96))) == 3
    with pytest.raises(BadInput, match="scenes need 2"):
        list(scenes(patterns, number=1, size=96, rectangles=False))


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_pictures(number: int) -> None:
    with pytest.raises(BadInput, match=f"of {number} pictures"):
        next(scenes([lambda: product(0)] * number, number=1, size=96))


def test_cutouts_will_do(openers: list[Opener]) -> None:
    (found,) = scenes([flat(0), flat(1), flat(2)], number=1, size=64)
    assert set(found.members.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("shape", [(3, 190), (190, 3), (1, 1)])
def test_odd_shapes_are_pasted(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 4), 255, np.uint8)
    for seed in range(5):
        scene = compose([Cutout(pixels), flat(1)], np.random.default_rng(seed), size=96)
        assert len(scene.boxes) == 2


def test_a_picture_that_cannot_be_read_is_left_out(openers: list[Opener]) -> None:
    def broken() -> Image.Image:
        raise BadPicture("not a picture")

    found = list(scenes([broken, *openers[:6], broken], number=12, size=96, seed=2))
    assert {int(member) for scene in found for member in scene.members} == set(range(1, 7))
    with pytest.raises(BadInput, match="0 of 2 pictures"):
        list(scenes([broken, broken], number=1, size=96))
