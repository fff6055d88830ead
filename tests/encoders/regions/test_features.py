from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.backbones import PictureBackbone, picture_backbone
from encoders.features import FeatureCache, picture_tokens
from encoders.regions.boxes import WHOLE, encode
from encoders.regions.detector import GridDetector, load_detector
from encoders.regions.features import RegionTokens, region_tokens
from encoders.regions.maps import feature_maps
from kg.errors import BadInput, NotFound

GRID = GridDetector()


def pictures(number: int, size: tuple[int, int] = (90, 70)) -> list[Image.Image]:
    chance = np.random.default_rng(number)
    small = chance.integers(0, 256, (number, 5, 6, 3), np.uint8)
    return [Image.fromarray(values).resize(size) for values in small]


@pytest.fixture(scope="module")
def backbone() -> PictureBackbone:
    return picture_backbone("efficientnet_lite0", size=128)


def same(a: list[list[RegionTokens]], b: list[list[RegionTokens]]) -> bool:
    pairs = [(x, y) for xs, ys in zip(a, b, strict=True) for x, y in zip(xs, ys, strict=True)]
    return all((x.features == y.features).all() and (x.boxes == y.boxes).all() for x, y in pairs)


def test_maps_are_what_the_network_had(backbone: PictureBackbone) -> None:
    pixels = backbone.pixels(pictures(1)[0])[None]
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(127).div(128)
    fine = []
    hook = backbone.model.blocks[10].register_forward_hook(lambda module, args, out: fine.append(out.clone()))
    with torch.inference_mode():
        tokens = backbone.model(x)
    hook.remove()
    head, shown = feature_maps(backbone, tokens)
    assert head.shape == (1, 1280, 4, 4)
    assert (head[0, :, 2, 1] == tokens[0, 9, :1280]).all()
    assert torch.equal(shown, fine[0])


def test_first_token_is_the_window_and_the_others_its_regions(backbone: PictureBackbone) -> None:
    image = pictures(3)[2]
    tokens = torch.from_numpy(picture_tokens(backbone, [image])).float()
    (found,) = region_tokens(backbone, GRID, [image])[0]
    assert found.features.shape == (37, 1392)
    assert found.features.dtype == np.float16
    assert found.boxes[0].tolist() == list(WHOLE)
    proposals = GRID.propose([image], limit=36)[0].boxes
    np.testing.assert_allclose(found.boxes[1:], encode(proposals, *image.size), atol=1e-6)
    head, fine = feature_maps(backbone, tokens)
    for part, columns in ((head, slice(0, 1280)), (fine, slice(1280, None))):
        mean = part[0].mean((1, 2)).numpy()
        np.testing.assert_allclose(found.features[0, columns], mean / np.linalg.norm(mean), atol=1e-3)
        quarter = part[0, :, : part.shape[2] // 2, : part.shape[3] // 2].mean((1, 2)).numpy()  # about the grid's 2nd
        pooled = found.features[2, columns].astype(np.float32)
        assert pooled @ quarter / np.linalg.norm(quarter) > 0.9
        np.testing.assert_allclose(np.linalg.norm(found.features[:, columns].astype(np.float32), axis=1), 1, atol=2e-3)


def test_whole_window_without_regions_is_the_global_token(backbone: PictureBackbone) -> None:
    images = pictures(2)
    full = region_tokens(backbone, GRID, images)
    whole = [[[0, 0, *image.size]] for image in images]
    for bare in (
        region_tokens(backbone, GRID, images, whole, limit=0),
        region_tokens(backbone, None, images),
    ):
        for (one,), (all_of,) in zip(bare, full, strict=True):
            assert one.features.shape == (1, 1392)
            assert (one.features[0] == all_of.features[0]).all()
            assert one.boxes.tolist() == [list(WHOLE)]


def test_windows_hold_the_regions_inside_them(backbone: PictureBackbone) -> None:
    image = pictures(1, (200, 100))[0]
    windows = [[[0, 0, 100, 50], [0, 0, 200, 100]]]
    left, whole = region_tokens(backbone, GRID, [image], windows)[0]
    assert same([[whole]], region_tokens(backbone, GRID, [image]))
    # The quarter is the grid's own window: its first region is itself, then those of a third of the picture.
    assert left.boxes[1].tolist() == list(WHOLE)
    assert 5 <= len(left.boxes) <= 37
    assert (left.boxes[:, :4] >= 0).all()
    assert (left.boxes[:, :4] <= 1).all()
    assert (left.features[0] == left.features[1]).all()
    assert (left.features[0] == whole.features[2]).all()
    few = region_tokens(backbone, GRID, [image], windows, limit=3)[0][0]
    assert len(few.boxes) == 4
    assert (few.features == left.features[:4]).all()


def test_cache_gives_the_same(backbone: PictureBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, cache = pictures(5), FeatureCache.at(tmp_path, 1)
    windows = [[[0, 0, 60, 50], [20, 10, 90, 70]]] * 5
    plain = region_tokens(backbone, GRID, images, windows)
    assert same(region_tokens(backbone, GRID, images[:2], windows[:2], cache=cache), plain[:2])
    assert same(region_tokens(backbone, GRID, images, windows, cache=cache), plain)
    other = region_tokens(backbone, GRID, images, windows, limit=2, cache=cache)
    assert {len(tokens.boxes) for of_image in other for tokens in of_image} == {3}
    fewer = region_tokens(backbone, GridDetector(sizes=2), images, windows, cache=cache)
    assert len(fewer[0][0].boxes) < len(plain[0][0].boxes)
    monkeypatch.setattr(type(backbone), "tokens", lambda *_: pytest.fail("computed again"))
    assert same(region_tokens(backbone, GRID, images, windows, cache=cache), plain)


def test_batches_do_not_matter(backbone: PictureBackbone) -> None:
    images = pictures(7)
    together = region_tokens(backbone, GRID, images)
    for batch in (1, 3):
        apart = region_tokens(backbone, GRID, images, batch=batch)
        for (a,), (b,) in zip(apart, together, strict=True):
            assert (a.boxes == b.boxes).all()
            # 1e-5 in float32; half precision may then round to the neighbour
            ours, theirs = a.features.astype(np.float32), b.features.astype(np.float32)
            np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_odd_pictures(backbone: PictureBackbone, size: tuple[int, int]) -> None:
    (found,) = region_tokens(backbone, GRID, [Image.new("RGB", size, "red")])[0]
    assert np.isfinite(found.features.astype(np.float32)).all()
    assert len(found.boxes) == 37


def test_nothing_gives_nothing(backbone: PictureBackbone) -> None:
    assert region_tokens(backbone, GRID, []) == []
    assert region_tokens(backbone, GRID, pictures(2), [[], []]) == [[], []]


@pytest.mark.parametrize("window", [[50, 0, 10, 20], [5, 5, 5, 9], [500, 0, 600, 20]])
def test_windows_that_are_refused(backbone: PictureBackbone, window: list[int]) -> None:
    with pytest.raises(BadInput, match="box"):
        region_tokens(backbone, GRID, pictures(1), [[window]])


def test_windows_may_reach_over_the_edge(backbone: PictureBackbone) -> None:
    images = pictures(1)
    over = region_tokens(backbone, GRID, images, [[[-10, -10, 500, 500]]])
    assert same(over, region_tokens(backbone, GRID, images))


def test_grid_is_the_same_share_of_every_picture() -> None:
    small, large = GRID.propose([Image.new("RGB", (64, 32)), Image.new("RGB", (640, 320))], limit=200)
    assert len(small.boxes) == 84
    np.testing.assert_allclose(small.boxes * 10, large.boxes, rtol=1e-5)
    assert small.boxes[0].tolist() == [0, 0, 64, 32]
    assert (np.diff(small.scores) < 0).all()
    assert small.boxes[:, 2:].max(axis=0).tolist() == [64, 32]
    few = GRID.propose([Image.new("RGB", (64, 32))], limit=5)[0]
    assert (few.boxes == small.boxes[:5]).all()


def test_no_such_detector(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be opened"):
        load_detector(tmp_path / "none")
    assert load_detector("grid").name == "grid"
