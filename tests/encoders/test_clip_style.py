from __future__ import annotations

import pytest
import torch

from encoders.backbones import picture_backbone, text_backbone
from encoders.clip_style import ClipStyle, Tower, build
from encoders.config import load_config
from encoders.transformers import Layer
from kg.errors import BadInput

SHAPE = {"inside": 24, "places": 10, "width": 16, "layers": 2, "heads": 4, "dim": 12}


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower(**SHAPE, dropout=0.3, drop_tokens=0.5).eval()


def inputs(batch: int = 3, length: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randn(batch, length, SHAPE["inside"], generator=draw)
    return tokens, torch.ones(batch, length, dtype=torch.bool)


def test_unit_vectors(tower: Tower) -> None:
    vectors = tower(*inputs())
    assert vectors.shape == (3, 12)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_hidden_tokens_change_nothing(tower: Tower) -> None:
    tokens, mask = inputs()
    mask[:, 5:] = False
    other = tokens.clone()
    other[:, 5:] = 9
    torch.testing.assert_close(tower(tokens, mask), tower(other, mask))
    torch.testing.assert_close(tower(tokens, mask), tower(tokens[:, :5], mask[:, :5]))


def test_places_count(tower: Tower) -> None:
    tokens, mask = inputs()
    assert not torch.allclose(tower(tokens, mask), tower(tokens.flip(1), mask), atol=1e-4)


def test_training_drops_and_serving_does_not(tower: Tower) -> None:
    assert torch.equal(tower(*inputs()), tower(*inputs()))
    tower.train()
    assert not torch.equal(tower(*inputs()), tower(*inputs()))


def test_last_layer_may_answer_for_the_first_token_only() -> None:
    torch.manual_seed(0)
    layer = Layer(16, 4, dropout=0.1).eval()
    x, mask = torch.randn(3, 7, 16), torch.rand(3, 7) > 0.3
    mask[:, 0] = True
    torch.testing.assert_close(layer(x, mask, queries=1), layer(x, mask, queries=7)[:, :1])


def test_width_must_fit_heads() -> None:
    with pytest.raises(ValueError, match=r"width \(16\) must be divisible by heads \(3\)"):
        Tower(**{**SHAPE, "heads": 3})


def test_scale_stays_between_1_and_100() -> None:
    model = ClipStyle(picture=SHAPE, text=SHAPE)
    assert float(model.scale.detach()) == pytest.approx(1 / 0.07)
    for start, end in ((-9.0, 1.0), (9.0, 100.0)):
        model.log_scale.data.fill_(start)
        assert float(model.scale.detach()) == pytest.approx(end)


@pytest.mark.parametrize("name", ["clip_style", "clip_style_tiny"])
def test_packaged_configs_build(name: str) -> None:
    config = load_config(name)
    model = build(config, picture_backbone("efficientnet_lite0", size=160), text_backbone("minilm"))
    assert model.picture.exit[1].out_features == config["model"]["dim"]


@pytest.mark.parametrize("change", [{"width": 30}, {"colour": 1}, {"dim": None}])
def test_a_config_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    config = load_config("clip_style_tiny")
    config["model"] |= change
    with pytest.raises(BadInput, match="model part"):
        build(config, picture_backbone("efficientnet_lite0", size=160), text_backbone("minilm"))
