"""A small CAPTURE trained on the drawn shapes: resume, tables, detectors, and what the protocol promises of regions."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import encoders
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.protocol import RegionEncoder, region_encoder
from encoders.tables import open_table
from encoders.training import TrainReport, train
from kg.errors import BadInput, EncoderMismatch

TINY = {"network": {"width": 16}, "scenes": {"number": 12, "held_out": 4}, "training": {"epochs": 1, "batch": 8}}


def small(folder: Path, **changes: Any) -> Path:
    """CAPTURE as small as can be; a path of the config and its new value each ("model__item")."""
    config = load_config("capture_tiny", epochs=3)
    config["picture"] |= {"size": 64, "near": 96}
    config["detector"] = "grid"
    config["model"] |= {"width": 32, "hidden": 32, "dim": 24, "heads": 2}
    config["training"] |= {"batch": 16, "scene_size": 96, "mirrored": True}
    for path, value in changes.items():
        part, _, name = path.partition("__")
        if name:
            config[part][name] = value
        else:
            config[part] = value
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def run(items: list[TrainItem], out: Path, cache: Path, **options: Any) -> TrainReport:
    config = options.pop("config", None) or small(out.parent)
    return train("capture", items, out, cache=cache, config=config, device="cpu", **options)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def whole(items: list[TrainItem], features: Path, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captured") / "whole"
    run(items, folder, features, tables=tables)
    return folder


@pytest.fixture(scope="module")
def encoder(whole: Path, features: Path) -> RegionEncoder:
    return region_encoder(encoders.load(whole, device="cpu", cache=features))


def lines(folder: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def test_each_loss_is_in_the_log_and_falls(whole: Path) -> None:
    found = lines(whole)
    assert len(found) == 3
    for name in ("loss", "ntxent", "views", "mlm", "mrm"):
        assert found[-1][name] < found[0][name], name


def test_stopped_and_continued_gives_the_same_losses(
    items: list[TrainItem], whole: Path, features: Path, tables: Path, tmp_path: Path
) -> None:
    """What is hidden, which views are drawn and the order come back too."""

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if stage == "epochs" and done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        run(items, tmp_path / "parts", features, tables=tables, on_progress=stop)
    assert len(lines(tmp_path / "parts")) == 1
    run(items, tmp_path / "parts", features, tables=tables)
    assert lines(tmp_path / "parts") == lines(whole)
    assert (tmp_path / "parts" / "fingerprint").read_text() == (whole / "fingerprint").read_text()


def test_a_kept_table_is_used_again_and_no_picture_is_opened(
    items: list[TrainItem], whole: Path, tables: Path, tmp_path: Path
) -> None:
    def opened() -> Image.Image:
        pytest.fail("opened again")

    closed = [replace(item, open_picture=opened) for item in items]
    report = train("capture", closed, tmp_path / "again", config=small(tmp_path), device="cpu", tables=tables, seed=0)
    assert report.fingerprint == (whole / "fingerprint").read_text()
    assert lines(tmp_path / "again") == lines(whole)


def test_views_are_plain_mirrored_and_from_scenes(items: list[TrainItem], whole: Path, tables: Path) -> None:
    found = [open_table(path) for path in tables.glob("table-*")]
    table = next(table for table in found if table.views.shape[1] == 3)
    assert len(table) == sum(item.part != "test" for item in items)
    plain, mirrored, scene = table.views.T
    fit = table.parts == "train"
    assert (scene[~fit] == plain[~fit]).all()  # validation is in no scene
    assert (scene[fit] != plain[fit]).mean() > 0.8
    assert len(set(plain) | set(mirrored)) == 2 * len(table)
    assert (table.counts[plain] == 5).all()  # the window, and its 2 x 2 parts
    assert (table.boxes[plain[0], 0] == [0, 0, 1, 1, 1]).all()
    length = np.linalg.norm(table.features[scene].astype(np.float32), axis=2)
    np.testing.assert_allclose(length, np.sqrt(2), atol=0.01)  # two parts of unit length


def test_the_whole_picture_as_a_region_is_the_picture(encoder: RegionEncoder, items: list[TrainItem]) -> None:
    images = [item.open_picture() for item in items[:5]]
    whole = [np.array([[0, 0, *image.size]], np.float32) for image in images]
    found = np.concatenate(encoder.encode_regions(images, whole))
    np.testing.assert_allclose(found, encoder.encode_images(images), atol=1e-6)


def test_regions_come_back_by_picture(encoder: RegionEncoder, items: list[TrainItem]) -> None:
    images = [item.open_picture() for item in items[:4]]
    boxes = [
        np.array([[10, 10, 60, 60], [0, 0, 96, 96]], np.float32),
        np.empty((0, 4), np.float32),
        np.array([[5, 5, 40, 90]], np.float32),
        np.array([[0, 0, 96, 96], [10, 10, 60, 60], [1, 2, 3, 4]], np.float32),
    ]
    found = encoder.encode_regions(images, boxes)
    assert [part.shape for part in found] == [(2, 24), (0, 24), (1, 24), (3, 24)]
    for part in found:
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)
    one_by_one = [encoder.encode_regions([i], [b])[0] for i, b in zip(images, boxes, strict=True)]
    for together, alone in zip(found, one_by_one, strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-5)
    assert encoder.encode_regions([], []) == []


@pytest.mark.parametrize("box", [[10, 10, 10, 20], [20, 10, 10, 30], [200, 200, 300, 300]])
def test_boxes_that_are_none(encoder: RegionEncoder, items: list[TrainItem], box: list[float]) -> None:
    with pytest.raises(BadInput, match="box"):
        encoder.encode_regions([items[0].open_picture()], [np.array([box], np.float32)])


def test_proposals(encoder: RegionEncoder, items: list[TrainItem]) -> None:
    found = encoder.propose([item.open_picture() for item in items[:2]], limit=7)
    assert [part.boxes.shape for part in found] == [(7, 4), (7, 4)]


def test_regions_that_were_sought_are_encoded_from_the_same_pass(
    items: list[TrainItem], features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(tmp_path, detector={"train": TINY}, training__scenes=0)
    run(items, tmp_path / "out", features, config=config, epochs=1)
    encoder = region_encoder(encoders.load(tmp_path / "out", device="cpu"))
    images = [item.open_picture() for item in items[:6:2]]
    near, passes = encoder.look.sight.near, []  # type: ignore[attr-defined]
    real = near.tokens
    monkeypatch.setattr(near, "tokens", lambda pixels: passes.append(len(pixels)) or real(pixels))
    boxes = [np.array([[10, 10, 60, 70]], np.float32)] * 3
    alone = encoder.encode_regions(images, boxes)
    assert passes == [3]
    again = encoders.load(tmp_path / "out", device="cpu")
    assert isinstance(again, RegionEncoder)
    found = again.propose(images, limit=5)
    assert passes == [3, 3]
    together = again.encode_regions(images, boxes)
    assert passes == [3, 3]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for part, wanted in zip(found, encoder.detector.propose(images, limit=5), strict=True):  # type: ignore[attr-defined]
        np.testing.assert_allclose(part.boxes, wanted.boxes, atol=1e-3)

    run(items, tmp_path / "out", features, config=small(tmp_path), epochs=1)  # now with another detector
    assert not (tmp_path / "out" / "detector").exists()
    assert region_encoder(encoders.load(tmp_path / "out", device="cpu")).detector.name == "grid"  # type: ignore[attr-defined]


def test_what_a_killed_run_left_in_tables_goes(items: list[TrainItem], features: Path, tmp_path: Path) -> None:
    left, used = tmp_path / "tables" / "new-999999999-x", tmp_path / "tables" / f"new-{os.getpid()}-x"
    for folder in (left, used):
        folder.mkdir(parents=True)
    run(items, tmp_path / "out", features, tables=tmp_path / "tables", epochs=1)
    assert not left.exists()
    assert used.exists()  # its process lives


def test_items_by_sum_or_after_fusion(
    encoder: RegionEncoder, items: list[TrainItem], features: Path, tables: Path, whole: Path, tmp_path: Path
) -> None:
    images, texts = [item.open_picture() for item in items[:4]], [item.text for item in items[:4]]
    both = encoder.encode_images(images) + encoder.encode_texts(texts)
    wanted = both / np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode_items(images, texts), wanted, atol=1e-5)
    run(items, tmp_path / "post", features, tables=tables, config=small(tmp_path, model__item="post"), epochs=1)
    post = encoders.load(tmp_path / "post", device="cpu")
    fused = post.encode_items(images, texts)
    pictures, said = post.encode_fused(images, texts)  # type: ignore[attr-defined]
    both = pictures + said
    np.testing.assert_allclose(fused, both / np.linalg.norm(both, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(fused[:1], post.encode_items(images[:1], texts[:1]), atol=1e-5)
    assert not np.allclose(fused, post.encode_items(images, ["a blue cross"] * 4), atol=1e-3)
    told, given = replace(post, appended=True), [[("colour", "blue")]] * 4  # type: ignore[type-var]
    wanted = told.encode_items(images, [f"{text}. blue" for text in texts])
    np.testing.assert_allclose(told.encode_items(images, texts, given), wanted, atol=1e-5)
    assert not np.allclose(wanted, fused, atol=1e-3)
    with pytest.raises(BadInput, match="it takes no entities"):
        post.encode_items(images, texts, given)  # type: ignore[call-arg]


def test_a_detector_is_trained_first_and_goes_into_the_checkpoint(
    items: list[TrainItem], features: Path, tables: Path, tmp_path: Path
) -> None:
    config = small(tmp_path, detector={"train": TINY})
    run(items, tmp_path / "out", features, tables=tables, config=config, epochs=1)
    encoder = region_encoder(encoders.load(tmp_path / "out", device="cpu"))
    assert encoder.detector.name == "proposals"  # type: ignore[attr-defined]
    shutil.copytree(tmp_path / "out", tmp_path / "other")
    shutil.rmtree(tables, ignore_errors=True)  # the checkpoint needs nothing else
    assert encoders.load(tmp_path / "other", device="cpu").fingerprint == encoder.fingerprint
    shutil.rmtree(tmp_path / "other" / "detector")
    with pytest.raises((EncoderMismatch, BadInput)):
        encoders.load(tmp_path / "other", device="cpu")
    given = run(
        items, tmp_path / "given", features, config=small(tmp_path), detector=tmp_path / "out" / "detector", epochs=1
    )
    assert given.fingerprint
    assert region_encoder(encoders.load(tmp_path / "given", device="cpu")).propose([items[0].open_picture()])


def test_the_same_training_does_not_train_its_detector_again(
    items: list[TrainItem], features: Path, tmp_path: Path
) -> None:
    config, stages = small(tmp_path, detector={"train": TINY}), []
    tell = lambda stage, done, total, figures: stages.append(stage)  # noqa: E731
    first = run(items, tmp_path / "out", features, config=config, epochs=1, on_progress=tell)
    assert "detector" in stages
    stages.clear()
    again = run(items, tmp_path / "out", features, config=config, epochs=1, on_progress=tell)
    assert again.unchanged
    assert again.fingerprint == first.fingerprint
    assert "detector" not in stages
    run(items[1:], tmp_path / "out", features, config=config, epochs=1, on_progress=tell)
    assert "detector" in stages  # other items, another detector


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"detector": {"training": {}}}, "whose one key is train"),
        (
            {"detector": None, "picture__tokens": "regions", "picture__regions": 4},
            "picture.regions = 4 and no detector",
        ),
        ({"model__layers": [1, 1]}, "three numbers from 0"),
    ],
)
def test_configs_that_do_not_fit(
    items: list[TrainItem], features: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        run(items, tmp_path / "out", features, config=small(tmp_path, **changes))


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_precision(items: list[TrainItem], features: Path, tmp_path: Path, precision: str) -> None:
    config = small(tmp_path, training__precision=precision, training__scenes=0)
    report = run(items, tmp_path / "out", features, config=config, epochs=1)
    assert report.precision == precision
    assert np.isfinite(lines(tmp_path / "out")[0]["loss"])


@pytest.mark.parametrize("name", ["uniter_style", "capture+whole", "capture+proposals", "capture+post"])
def test_other_configs_train_and_open(items: list[TrainItem], features: Path, tmp_path: Path, name: str) -> None:
    config = load_config(name, epochs=1)
    config["detector"] = "grid"
    config["picture"] |= {"size": 64, "near": 96}
    config["model"] |= {"width": 32, "hidden": 32, "dim": 24, "heads": 2}
    config["training"] |= {"batch": 16, "scenes": 0}
    path = tmp_path / "my.json"
    path.write_text(json.dumps(config))
    train(config["encoder"], items, tmp_path / "out", config=path, device="cpu", cache=features)
    encoder = region_encoder(encoders.load(tmp_path / "out", device="cpu"))
    images = [item.open_picture() for item in items[:3]]
    assert encoder.encode_items(images, ["a red circle"] * 3).shape == (3, 24)
    assert encoder.encode_regions(images[:1], [np.array([[4, 4, 50, 50]], np.float32)])[0].shape == (1, 24)
