"""Checkpoints: opened, refused, and what the `Encoder` protocol promises of a trained one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import encoders
from encoders import checkpoint
from kg.errors import BadInput, BadSetting, EncoderMismatch, NotFound

TEXTS = ["a red circle", "a blue cross of an uncommonly long description, cut nowhere", "", "a green square"] * 3


@pytest.fixture(scope="module")
def encoder(trained: Path, features: Path) -> encoders.Encoder:
    return encoders.load(trained, device="cpu", cache=features)


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def test_keeps_the_protocol(encoder: encoders.Encoder, pictures: Callable[[int], list[Image.Image]]) -> None:
    assert isinstance(encoder, encoders.Encoder)
    images = pictures(len(TEXTS))
    for vectors in (encoder.encode_images(images), encoder.encode_texts(TEXTS), encoder.encode_items(images, TEXTS)):
        assert vectors.shape == (len(TEXTS), encoder.dim)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_nothing_in_nothing_out(encoder: encoders.Encoder) -> None:
    for vectors in (encoder.encode_images([]), encoder.encode_texts([]), encoder.encode_items([], [])):
        assert vectors.shape == (0, encoder.dim)


def test_batches_and_cache_do_not_change_vectors(
    encoder: encoders.Encoder, trained: Path, pictures: Callable[[int], list[Image.Image]]
) -> None:
    other, images = encoders.load(trained, device="cpu", batch=5), pictures(12)
    np.testing.assert_allclose(other.encode_images(images), encoder.encode_images(images), atol=1e-5)
    np.testing.assert_allclose(other.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS)[1], encoder.encode_texts(TEXTS[1:2])[0], atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(images)[7], encoder.encode_images(images[7:8])[0], atol=1e-5)


def test_saved_copy_is_the_same_encoder(encoder: encoders.Encoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "there")
    other = encoders.load(tmp_path / "there", device="cpu")
    assert other.fingerprint == encoder.fingerprint == (tmp_path / "there" / "fingerprint").read_text()
    assert (other.encode_texts(TEXTS) == encoder.encode_texts(TEXTS)).all()


def test_how_it_was_trained_is_not_in_the_fingerprint_and_the_weights_are(
    copy: Path, encoder: encoders.Encoder
) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["training"]["rate"] = 7
    (copy / "config.json").write_text(json.dumps(config))
    assert encoders.load(copy, device="cpu").fingerprint == encoder.fingerprint
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["picture.summary"] += 1e-3
    save_file(weights, copy / "model.safetensors")
    assert encoders.load(copy, device="cpu").fingerprint != encoder.fingerprint


def test_encoder_of_ones_own(tmp_path: Path) -> None:
    from tests.tiny_encoder import write_tiny

    assert encoders.load(write_tiny(tmp_path), device="cpu").dim == 64


def test_not_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"has no config\.json"):
        encoders.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", BadInput, "not JSON"),
        ("[]", BadInput, '"encoder" must name'),
        ('{"encoder": "clip_style", "model": {}}', BadInput, "lacks picture, text"),
        ('{"encoder": "resnet"}', NotFound, "'resnet' does not exist.*clip_style"),
    ],
)
def test_broken_config(copy: Path, text: str, error: type[Exception], words: str) -> None:
    (copy / "config.json").write_text(text)
    with pytest.raises(error, match=words):
        encoders.load(copy)


def test_missing_and_broken_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(BadInput, match="is broken"):
        encoders.load(copy, device="cpu")
    (copy / "model.safetensors").unlink()
    with pytest.raises(NotFound, match="no whole encoder"):
        encoders.load(copy, device="cpu")


def test_one_that_is_cut_short_over_another_is_not_whole(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, weights = checkpoint.read(copy)
    write = checkpoint.write_text

    def killed(path: Path, text: str) -> None:
        if path.name == "config.json":
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(checkpoint, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(copy, config, {name: value + 1 for name, value in weights.items()})
    with pytest.raises(NotFound, match="is no encoder"):
        encoders.load(copy, device="cpu")


def test_weights_of_another_shape(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["model"]["width"] = 64
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="do not fit the config"):
        encoders.load(copy, device="cpu")


def test_another_backbone_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["picture"]["fingerprint"] = "0" * 64
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderMismatch, match="picture backbone efficientnet_lite0"):
        encoders.load(copy, device="cpu")


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there(trained: Path, name: str) -> None:
    with pytest.raises(BadSetting, match=f"device '{name}'"):
        encoders.load(trained, device=name)
