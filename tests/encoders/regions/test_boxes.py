from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders.regions.boxes import WHOLE, area, checked, clip, encode, inside, iou, nms, pool, relative
from kg.errors import BadInput

Boxes = NDArray[np.float32]


def some_boxes(seed: int, number: int, extent: float = 100) -> Boxes:
    chance = np.random.default_rng(seed)
    corners = chance.uniform(0, 0.8 * extent, (number, 2))
    return np.concatenate([corners, corners + chance.uniform(1, 0.5 * extent, (number, 2))], axis=1).astype(np.float32)


def slow_iou(a: Iterable[float], b: Iterable[float]) -> float:
    (ax, ay, bx, by), (cx, cy, dx, dy) = a, b
    wide, high = min(bx, dx) - max(ax, cx), min(by, dy) - max(ay, cy)
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / ((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - wide * high)


def slow_nms(boxes: Boxes, scores: Boxes, threshold: float) -> list[int]:
    left, kept = list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        kept.append(best)
        left = [i for i in left if i != best and slow_iou(boxes[i], boxes[best]) <= threshold]
    return kept


def slow_pool(features: NDArray[np.float32], box: Boxes, samples: int = 240) -> NDArray[np.float64]:
    """Mean of bilinear samples at the midpoints of `samples` x `samples` fields of the box."""
    channels, height, width = features.shape
    total = np.zeros(channels)
    for row in range(samples):
        y = (box[1] + (row + 0.5) / samples * (box[3] - box[1])) * height - 0.5
        y = min(max(y, 0), height - 1)
        top = min(int(y), max(height - 2, 0))
        below = min(top + 1, height - 1)
        for column in range(samples):
            x = (box[0] + (column + 0.5) / samples * (box[2] - box[0])) * width - 0.5
            x = min(max(x, 0), width - 1)
            left = min(int(x), max(width - 2, 0))
            right = min(left + 1, width - 1)
            upper = features[:, top, left] * (1 - x + left) + features[:, top, right] * (x - left)
            lower = features[:, below, left] * (1 - x + left) + features[:, below, right] * (x - left)
            total += upper * (1 - y + top) + lower * (y - top)
    return total / samples**2


@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(0, 12))
def test_iou_is_that_of_loops(seed: int, n: int, m: int) -> None:
    a, b = some_boxes(seed, n), some_boxes(seed + 1, m)
    found = iou(a, b)
    assert found.shape == (n, m)
    np.testing.assert_allclose(found, np.array([[slow_iou(x, y) for y in b] for x in a]).reshape(n, m), atol=1e-5)


@given(st.integers(0, 10_000), st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.booleans())
def test_nms_is_that_of_loops(seed: int, number: int, threshold: float, ties: bool) -> None:
    boxes = some_boxes(seed, number)
    scores = np.random.default_rng(seed).random(number).astype(np.float32)
    if ties:
        scores = np.round(scores, 1)
    assert nms(boxes, scores, threshold).tolist() == slow_nms(boxes, scores, threshold)


@given(st.integers(0, 10_000), st.integers(0, 12))
def test_encode_is_that_of_loops(seed: int, number: int) -> None:
    boxes = some_boxes(seed, number)
    wanted = [[x1 / 200, y1 / 150, x2 / 200, y2 / 150, (x2 - x1) * (y2 - y1) / 30000] for x1, y1, x2, y2 in boxes]
    found = encode(boxes, 200, 150)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(wanted).reshape(-1, 5), atol=1e-6)


def test_encode_of_the_whole_is_the_global_token() -> None:
    assert encode(np.array([[0, 0, 640, 480]], np.float32), 640, 480)[0].tolist() == list(WHOLE)


def test_inside_and_relative() -> None:
    window = np.array([10, 20, 30, 60], np.float32)
    boxes = np.array([[10, 20, 30, 60], [0, 20, 20, 60], [15, 30, 20, 40], [40, 0, 50, 9], [5, 5, 5, 5]], np.float32)
    np.testing.assert_allclose(inside(boxes, window), [1, 0.5, 1, 0, 0])
    np.testing.assert_allclose(relative(boxes[:3], window), [[0, 0, 1, 1], [0, 0, 0.5, 1], [0.25, 0.25, 0.5, 0.5]])


@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (1, 5), (6, 2)])
def test_pool_is_the_mean_of_many_bilinear_samples(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    boxes = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.15, 0.3], [0.5, 0.05, 0.97, 1], [0, 0.9, 0.04, 1]], np.float32)
    found = pool(torch.from_numpy(features), torch.from_numpy(boxes))
    np.testing.assert_allclose(found, [slow_pool(features, box) for box in boxes], atol=2e-4)


def test_pool_of_the_whole_is_the_plain_mean() -> None:
    features = torch.randn(5, 10, 10, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(pool(features, torch.tensor([[0.0, 0, 1, 1]]))[0], features.mean((1, 2)), atol=1e-6)


def test_pool_takes_points_and_nothing() -> None:
    features = torch.arange(6.0).reshape(1, 2, 3)
    corner = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1], [0.5, 0.25, 0.5, 0.25]])
    np.testing.assert_allclose(pool(features, corner)[:, 0], [0, 5, 1], atol=1e-3)
    assert pool(features, torch.empty(0, 4)).shape == (0, 1)


def test_clip_leaves_nothing_outside() -> None:
    cut = clip([[-5, -5, 20, 8], [90, 40, 200, 90], [300, 300, 400, 400]], 100, 50)
    assert cut.tolist() == [[0, 0, 20, 8], [90, 40, 100, 50], [100, 50, 100, 50]]
    assert area(cut).tolist() == [160, 100, 0]


def test_boxes_of_a_caller() -> None:
    assert checked([[-5, 2, 20, 500]], 100, 50).tolist() == [[0, 2, 20, 50]]
    assert checked([], 100, 50).shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ([20, 2, 10, 8], "x1 < x2"),
        ([20, 8, 30, 2], "y1 < y2"),
        ([5, 5, 5, 9], "x1 < x2"),
        ([200, 5, 300, 9], "outside the picture of 100 x 50"),
        ([-9, -9, 0, 0], "outside"),
        ([math.nan, 0, 1, 1], "finite"),
        ([0, 0, math.inf, 1], "finite"),
        ([0, 0, 1], "four numbers"),
        (["left", 0, 1, 1], "four numbers"),
    ],
)
def test_boxes_that_are_refused(box: list[object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        checked([box], 100, 50)
