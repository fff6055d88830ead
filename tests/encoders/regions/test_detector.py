from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.backbones import picture_backbone
from encoders.features import FeatureCache, picture_tokens
from encoders.regions.detector import Detector, DetectorReport, load_detector, train_detector
from encoders.regions.features import region_tokens
from encoders.regions.foreground import Cutout
from encoders.regions.scenes import Opener, scenes
from encoders.regions.training import TINY, complete
from kg.errors import BadInput, BadPicture, EncoderMismatch, NotFound
from tests.encoders.regions.conftest import product

QUICK = {
    "picture": {"size": 128},
    "network": {"width": 32},
    "scenes": {"number": 24, "held_out": 6},
    "training": {"epochs": 6, "batch": 8},
}
ODD = [
    Image.new("RGB", (90, 60), "red"),
    Image.new("RGB", (1, 5000), "blue"),
    Image.new("RGB", (1, 1)),
    Image.new("RGB", (3, 2), "white"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DetectorReport]:
    folder = tmp_path_factory.mktemp("detector") / "own"
    many: list[Opener] = [lambda n=n: product(n) for n in range(30)]  # type: ignore[misc]
    return folder, train_detector(many, folder, config=QUICK, device="cpu")


def check(detector: Detector, pictures: list[Image.Image]) -> None:
    """What every detector keeps to."""
    together = detector.propose(pictures, limit=12)
    assert len(together) == len(pictures)
    for picture, regions in zip(pictures, together, strict=True):
        assert regions.boxes.dtype == regions.scores.dtype == np.float32
        assert regions.boxes.shape == (len(regions.scores), 4)
        assert len(regions.scores) <= 12
        assert (np.diff(regions.scores) <= 0).all()
        assert (regions.boxes[:, 2:] > regions.boxes[:, :2]).all()
        assert (regions.boxes >= 0).all()
        assert (regions.boxes <= np.array([*picture.size, *picture.size], np.float32)).all()
        (alone,) = detector.propose([picture], limit=12)
        np.testing.assert_allclose(alone.scores, regions.scores, atol=1e-4)
        np.testing.assert_allclose(
            alone.boxes, regions.boxes, atol=2e-3 * max(picture.size)
        )  # half precision of the tokens
        (fewer,) = detector.propose([picture], limit=4)
        assert (fewer.boxes == alone.boxes[:4]).all()
    assert detector.propose([], limit=3) == []


def test_training_writes_a_whole_folder(trained: tuple[Path, DetectorReport]) -> None:
    folder, report = trained
    assert {"config.json", "model.safetensors", "fingerprint", "training.jsonl", "metrics.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert (folder / "fingerprint").read_text() == report.fingerprint
    assert set(report.metrics) == {"recall@1", "recall@5", "recall@10", "recall@36"}
    assert set(report.seconds) == {"scenes", "training", "validation"}
    losses = [json.loads(line)["loss"] for line in (folder / "training.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.9 * losses[0]
    detector = load_detector(folder, device="cpu")
    assert detector.fingerprint == report.fingerprint
    assert detector.name == "proposals"


def test_ours(trained: tuple[Path, DetectorReport], openers: list[Opener]) -> None:
    pictures = [scene.image for scene in scenes(openers, number=3, size=150, seed=9)]
    check(load_detector(trained[0], device="cpu"), [*pictures, *ODD])


def test_tokens_of_the_caller_are_used(trained: tuple[Path, DetectorReport], openers: list[Opener]) -> None:
    detector, backbone = load_detector(trained[0], device="cpu"), picture_backbone("efficientnet_lite0", size=128)
    assert detector.backbone == backbone.fingerprint
    pictures = [openers[0](), openers[1]()]
    plain = detector.propose(pictures)
    given = detector.propose(pictures, tokens=picture_tokens(backbone, pictures))
    assert all((a.boxes == b.boxes).all() for a, b in zip(plain, given, strict=True))
    swapped = detector.propose(pictures, tokens=picture_tokens(backbone, pictures[::-1]))
    np.testing.assert_allclose(swapped[0].boxes, plain[1].boxes, atol=1e-3)


def test_region_tokens_with_our_detector(trained: tuple[Path, DetectorReport], openers: list[Opener]) -> None:
    detector = load_detector(trained[0], device="cpu")
    pictures = [scene.image for scene in scenes(openers, number=2, size=150, seed=9)]
    same, other = (picture_backbone("efficientnet_lite0", size=size) for size in (128, 160))
    for backbone in (same, other):
        found = region_tokens(backbone, detector, pictures, limit=5)
        proposed = detector.propose(pictures, limit=5)
        for (tokens,), regions in zip(found, proposed, strict=True):
            np.testing.assert_allclose(tokens.boxes[1:, :4] * 150, regions.boxes, atol=0.5)


def test_the_same_training_gives_the_same_and_is_not_repeated(
    trained: tuple[Path, DetectorReport], tmp_path: Path
) -> None:
    folder, report = trained
    many: list[Opener] = [lambda n=n: product(n) for n in range(30)]  # type: ignore[misc]
    again = train_detector(many, folder, config=QUICK, device="cpu")
    assert again.unchanged
    assert again.metrics == report.metrics
    cache = FeatureCache.at(tmp_path / "cache", 1)
    elsewhere = train_detector(many, tmp_path / "other", config=QUICK, device="cpu", cache=cache)
    assert elsewhere.fingerprint == report.fingerprint
    other = train_detector(many, tmp_path / "other", config=QUICK, device="cpu", cache=cache, seed=1)
    assert not other.unchanged
    assert other.fingerprint != report.fingerprint
    assert not train_detector(many[::-1], tmp_path / "other", config=QUICK, device="cpu", seed=1).unchanged


def test_few_products_are_all_learned_from(tmp_path: Path) -> None:
    some = [Cutout(np.full((30, 40, 4), 200, np.uint8)), Cutout(np.full((50, 20, 4), 255, np.uint8))]
    report = train_detector(some, tmp_path / "d", config={**QUICK, "training": {"epochs": 1}}, device="cpu")
    assert report.metrics == {}
    assert report.scenes == 24


@pytest.mark.parametrize("config", [{"trainning": {}}, {"training": {"epoch": 3}}, {"network": {"depth": 3}}])
def test_unknown_settings_are_refused(config: dict[str, dict[str, int]], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        train_detector([], tmp_path, config=config)


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="scenes need 2"):
        train_detector([], tmp_path, config=QUICK, device="cpu")


def test_tiny_is_whole() -> None:
    assert complete(TINY) == TINY


def test_broken_folders(trained: tuple[Path, DetectorReport], tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in trained[0].iterdir()}

    def with_config(**changes: object) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "config.json").write_text(json.dumps({**json.loads(files["config.json"]), **changes}))
        return folder

    with pytest.raises(BadInput, match="not a detector"):
        load_detector(with_config(encoder="clip_style"))
    with pytest.raises(BadInput, match="do not fit"):
        load_detector(with_config(network={"width": 48, "scales": [0.25], "upsample": 1}), device="cpu")
    picture = json.loads(files["config.json"])["picture"]
    with pytest.raises(EncoderMismatch, match="trained over"):
        load_detector(with_config(picture={**picture, "fingerprint": "0" * 64}), device="cpu")
    with pytest.raises(NotFound, match="cannot be opened"):
        load_detector(tmp_path / "none")


@pytest.fixture(scope="module", params=["yolos", "detr"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector of transformers with random weights, as its authors would save it."""
    from transformers import (
        DetrConfig,
        DetrForObjectDetection,
        ResNetConfig,
        YolosConfig,
        YolosForObjectDetection,
    )

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    rules: dict[str, object] = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_normalize": True}
    if request.param == "yolos":
        config = YolosConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=[96, 128],
            patch_size=16, num_detection_tokens=20, num_labels=3,
        )  # fmt: skip
        model: torch.nn.Module = YolosForObjectDetection(config)
        rules["size"] = {"shortest_edge": 96, "longest_edge": 160}
    else:
        backbone = ResNetConfig(
            embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", out_features=["stage2"]
        )
        model = DetrForObjectDetection(
            DetrConfig(
                use_timm_backbone=False,
                use_pretrained_backbone=False,
                backbone=None,
                backbone_config=backbone,
                d_model=32,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=32,
                decoder_ffn_dim=32,
                num_queries=15,
                num_labels=3,
            )
        )
        rules["size"] = {"height": 96, "width": 96}
    model.save_pretrained(folder)  # type: ignore[operator]
    (folder / "preprocessor_config.json").write_text(json.dumps(rules))
    return folder


def test_detectors_of_transformers(hub: Path, openers: list[Opener]) -> None:
    detector = load_detector(hub, device="cpu")
    assert detector.backbone is None
    check(detector, [openers[0](), openers[1]().resize((80, 50)), *ODD])
    assert load_detector(str(hub), device="cpu").fingerprint == detector.fingerprint
    assert "torchvision" not in sys.modules
    backbone = picture_backbone("efficientnet_lite0", size=128)
    (found,) = region_tokens(backbone, detector, [openers[0]()], limit=4)[0]
    assert 2 <= len(found.boxes) <= 5


def test_boxes_are_those_that_the_model_says(hub: Path, openers: list[Opener]) -> None:
    """By the model's own output, read for one picture by hand."""
    from transformers import AutoModelForObjectDetection

    model = AutoModelForObjectDetection.from_pretrained(hub).eval()
    picture = openers[2]().resize((96, 96), Image.Resampling.BICUBIC)
    values = torch.from_numpy((np.asarray(picture, np.float32) / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
    with torch.inference_mode():
        found = model(pixel_values=values)
    scores = found.logits[0].softmax(-1)[:, :-1].max(-1).values
    cx, cy, wide, high = found.pred_boxes[0][scores.argmax()].tolist()
    wanted = np.clip([cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2], 0, 1) * 96
    (regions,) = load_detector(hub, device="cpu").propose([picture], limit=1)
    np.testing.assert_allclose(regions.boxes[0], wanted, atol=0.05)
    assert regions.scores[0] == pytest.approx(scores.max().item(), abs=1e-4)


SHORT = {**QUICK, "scenes": {"number": 8, "held_out": 2}, "training": {"epochs": 1, "batch": 8}}


def test_a_picture_that_cannot_be_read_ends_no_training(tmp_path: Path) -> None:
    def broken() -> Image.Image:
        raise BadPicture("not a picture")

    some: list[Opener] = [lambda n=n: product(n) for n in range(6)]  # type: ignore[misc]
    report = train_detector([*some, broken], tmp_path / "own", config=SHORT, device="cpu")
    assert report.scenes == 8
    assert train_detector([*some, broken], tmp_path / "own", config=SHORT, device="cpu").unchanged


@pytest.mark.parametrize("at", ["config.json", "model.safetensors", "fingerprint"])
def test_what_is_cut_short_is_not_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Killed while it writes: the first time nothing is there; over another training its folder is no detector."""
    some: list[Opener] = [lambda n=n: product(n) for n in range(6)]  # type: ignore[misc]
    folder, replace, other = tmp_path / "own", os.replace, {**SHORT, "network": {"width": 16}}

    def killed(source: str | Path, target: str | Path) -> None:
        if Path(target).name == at:
            raise KeyboardInterrupt
        replace(source, target)

    def train(config: dict[str, Any]) -> DetectorReport:
        return train_detector(some, folder, config=config, device="cpu")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            train(SHORT)
    assert not folder.exists()
    first = train(SHORT)
    moves = []
    with monkeypatch.context() as patch:

        def late(source: str | Path, target: str | Path) -> None:
            moves.append(Path(target).parent == folder)
            killed(source, target) if moves[-1] else replace(source, target)

        patch.setattr(os, "replace", late)
        with pytest.raises(KeyboardInterrupt):
            train(other)
    again = train(SHORT)
    assert (again.fingerprint, again.unchanged) == (first.fingerprint, False)
    assert load_detector(folder, device="cpu").fingerprint == first.fingerprint
