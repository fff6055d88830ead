from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.backbones import picture_backbone
from encoders.features import picture_tokens
from encoders.regions.boxes import iou
from encoders.regions.maps import feature_maps
from encoders.regions.proposals import (
    Predictions,
    ProposalNetwork,
    Targets,
    assign,
    giou,
    proposal_loss,
    regions_of,
)
from encoders.regions.recall import recall
from encoders.regions.scenes import Opener, scenes
from encoders.regions.training import complete, fit


def some(seed: int, number: int) -> torch.Tensor:
    corners = torch.rand(number, 4, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corners[:, :2] * 0.6, corners[:, :2] * 0.6 + 0.05 + corners[:, 2:] * 0.35], dim=1)


def slow_giou(a: list[float], b: list[float]) -> tuple[float, float]:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = wide * high if wide > 0 and high > 0 else 0.0
    joint = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return common / joint, common / joint - (hull - joint) / hull


def test_giou_is_that_of_loops() -> None:
    a, b = some(0, 50), some(1, 50)
    wanted = [slow_giou(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(torch.stack(giou(a, b), dim=1), wanted, atol=1e-5)


def test_giou_of_the_same_and_of_far_boxes() -> None:
    box, far = torch.tensor([[0.1, 0.1, 0.2, 0.2]]), torch.tensor([[0.8, 0.8, 0.9, 0.9]])
    assert giou(box, box)[1].item() == pytest.approx(1)
    assert giou(box, far)[0].item() == 0
    assert giou(box, far)[1].item() == pytest.approx(-0.62 / 0.64, abs=1e-5)


def slow_loss(found: Predictions, wanted: Targets) -> float:
    total, number = 0.0, int(wanted.positive.sum())
    for place in np.ndindex(*wanted.positive.shape):
        quality = 0.0
        if wanted.positive[place]:
            quality, generalised = slow_giou(found.boxes[place].tolist(), wanted.boxes[place].tolist())
            total += 2 * (1 - generalised)
        p = 1 / (1 + np.exp(-found.objectness[place].item()))
        total += abs(quality - p) ** 2 * -(quality * np.log(p) + (1 - quality) * np.log(1 - p))
    return total / max(number, 1)


def example(seed: int = 0) -> tuple[Predictions, Targets]:
    shape = (2, 2, 3, 4)
    chance = torch.Generator().manual_seed(seed)
    objectness = torch.randn(shape, generator=chance)
    boxes = some(seed, 48).reshape(*shape, 4)
    positive = torch.rand(shape, generator=chance) < 0.3
    return Predictions(objectness, boxes), Targets(
        positive, some(seed + 1, 48).reshape(*shape, 4) * positive[..., None]
    )


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_that_of_loops(seed: int) -> None:
    found, wanted = example(seed)
    assert proposal_loss(found, wanted).item() == pytest.approx(slow_loss(found, wanted), rel=1e-4)


def test_loss_without_any_product_is_that_of_the_background() -> None:
    found, wanted = example()
    empty = Targets(torch.zeros_like(wanted.positive), torch.zeros_like(wanted.boxes))
    assert proposal_loss(found, empty).item() == pytest.approx(slow_loss(found, empty), rel=1e-4)


def test_gradient_of_the_loss() -> None:
    """Against differences. The IoU that the objectness should say is no path of the gradient: it is held fixed."""
    found, wanted = example()
    objectness = found.objectness.double().requires_grad_()
    exact = Targets(wanted.positive, wanted.boxes.double())
    boxes = found.boxes.double()
    assert torch.autograd.gradcheck(lambda o: proposal_loss(Predictions(o, boxes), exact), objectness)
    far = torch.full_like(objectness, 0.5).detach()

    def of_boxes(b: torch.Tensor) -> torch.Tensor:
        return 2 * (1 - giou(b[exact.positive], exact.boxes[exact.positive])[1]).sum() / exact.positive.sum()

    moving = boxes.clone().requires_grad_()
    assert torch.autograd.gradcheck(of_boxes, moving)
    of_boxes(moving).backward()
    expected, moving.grad = moving.grad, None
    proposal_loss(Predictions(far, moving), exact).backward()
    torch.testing.assert_close(moving.grad, expected)


def test_places_of_a_box() -> None:
    boxes = np.array([[0.1, 0.2, 0.9, 0.8], [0.45, 0.45, 0.55, 0.5], [0.0, 0.0, 0.02, 0.02]], np.float32)
    targets = assign([boxes, np.empty((0, 4), np.float32)], [0.25], 10, 10)
    assert targets.positive.shape == (2, 2, 10, 10)
    assert not targets.positive[1].any()
    for y in range(10):
        for x in range(10):
            cx, cy = (x + 0.5) / 10, (y + 0.5) / 10
            in_middle = abs(cx - 0.5) <= 0.2 + 1e-6 and abs(cy - 0.5) <= 0.15 + 1e-6
            assert bool(targets.positive[0, 1, y, x]) == in_middle
    # Small ones have the place nearest to their centre, in the class of the small, and do not displace the large.
    assert targets.positive[0, 0].sum() == 2
    assert targets.positive[0, 0, 0, 0]
    assert targets.boxes[0, 0, 0, 0].tolist() == boxes[2].tolist()
    assert targets.boxes[0, 1, 4, 4].tolist() == boxes[0].tolist()


def test_the_smallest_has_a_place_that_several_claim() -> None:
    boxes = np.array([[0.4, 0.4, 0.6, 0.6], [0.45, 0.45, 0.56, 0.56]], np.float32)
    for order in ([0, 1], [1, 0]):
        targets = assign([boxes[order]], [0.25], 9, 9)
        assert targets.boxes[0, 0, 4, 4].tolist() == boxes[1].tolist()


def test_regions_are_clipped_sorted_and_apart() -> None:
    network = ProposalNetwork(channels=[8, 4], finer=[1, 2], width=16).eval()
    maps = [torch.randn(3, 8, 4, 4), torch.randn(3, 4, 8, 8)]
    with torch.inference_mode():
        found = network(maps)
    assert found.objectness.shape == (3, 2, 8, 8)
    assert found.boxes.shape == (3, 2, 8, 8, 4)
    sizes = [(100, 50), (1, 5000), (640, 640)]
    for regions, size in zip(regions_of(found, sizes, limit=20, threshold=0.5), sizes, strict=True):
        assert len(regions.boxes) <= 20
        assert (np.diff(regions.scores) <= 0).all()
        assert ((regions.scores >= 0) & (regions.scores <= 1)).all()
        assert (regions.boxes >= 0).all()
        assert (regions.boxes <= np.array([*size, *size])).all()
        assert (regions.boxes[:, 2:] > regions.boxes[:, :2]).all()
        assert (iou(regions.boxes, regions.boxes) - np.eye(len(regions.boxes))).max() <= 0.5 + 1e-5
    few = regions_of(found, sizes, limit=3, threshold=0.5)[0]
    assert (few.boxes == regions_of(found, sizes, limit=20, threshold=0.5)[0].boxes[:3]).all()


def test_eight_scenes_are_learned_by_heart(openers: list[Opener]) -> None:
    """Every product of them is met by one of the first ten proposals."""
    backbone = picture_backbone("efficientnet_lite0", size=160)
    learned = list(scenes(openers, number=8, size=160, seed=5))
    tokens = picture_tokens(backbone, [scene.image for scene in learned])
    config = complete(
        {
            "picture": {"size": 160},
            "network": {"width": 64},
            "training": {"epochs": 150, "batch": 8, "rate": 4e-3, "precision": "float32"},
        }
    )
    network, log = fit(backbone, tokens, [scene.boxes for scene in learned], config, 0, "cpu")
    assert log[-1]["loss"] < 0.15 * log[0]["loss"]
    with torch.inference_mode():
        found = network(feature_maps(backbone, torch.from_numpy(tokens).float()))
    regions = regions_of(found, [(160, 160)] * 8, limit=36, threshold=0.6)
    assert recall([r.boxes for r in regions], [s.boxes for s in learned])["recall@10"] == 1


def test_recall_counts_boxes() -> None:
    true = [np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32), np.array([[0, 0, 4, 4]], np.float32)]
    proposed = [
        np.array([[0, 0, 10, 9], [50, 50, 60, 60], [20, 20, 30, 31]], np.float32),
        np.array([[0, 0, 4, 1], [0, 0, 4, 2]], np.float32),  # .25, exactly .5
    ]
    found = recall(proposed, true)
    assert found == {"recall@1": 1 / 3, "recall@5": 1.0, "recall@10": 1.0, "recall@36": 1.0}
    nothing = [np.empty((0, 4), np.float32)] * 2
    assert recall(nothing, true, depths=(2,)) == {"recall@2": 0.0}
    assert np.isnan(recall(nothing, nothing)["recall@1"])
