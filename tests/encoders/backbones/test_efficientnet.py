from __future__ import annotations

import pytest
import torch
from PIL import Image

from encoders.backbones import picture_backbone
from encoders.backbones.efficientnet import HEAD, EfficientNetLite0, fold, packaged_weights
from kg.errors import BadInput


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return torch.load(packaged_weights(), map_location="cpu", weights_only=True)


def test_head_is_that_of_the_published_network(state: dict[str, torch.Tensor]) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    twin = EfficientNet.from_name("efficientnet-lite0").eval()
    twin.load_state_dict(state)
    ours = EfficientNetLite0().eval()
    ours.load_state_dict(fold(state))
    pixels = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        wanted = twin.extract_features(pixels).flatten(2).transpose(1, 2)
        torch.testing.assert_close(ours(pixels)[..., :HEAD], wanted, atol=1e-3, rtol=1e-3)


def test_every_weight_is_used(state: dict[str, torch.Tensor]) -> None:
    assert set(fold(state)) == set(EfficientNetLite0().state_dict())


@pytest.mark.parametrize(("size", "places"), [(96, 9), (160, 25)])
def test_a_token_for_each_cell(size: int, places: int) -> None:
    backbone = picture_backbone("efficientnet_lite0", size=size)
    pixels = backbone.pixels(Image.new("RGB", (300, 200), "red"))
    assert pixels.shape == (size, size, 3)
    assert backbone.tokens(pixels[None]).shape == (1, places, backbone.width)
    assert backbone.places == places


def test_tokens_tell_where_things_are() -> None:
    backbone = picture_backbone("efficientnet_lite0", size=160)
    image = Image.new("RGB", (160, 160), "white")
    plain = backbone.tokens(backbone.pixels(image)[None])[0]
    image.paste("black", (96, 0, 128, 32))  # inside the fourth cell of the first row
    change = (backbone.tokens(backbone.pixels(image)[None])[0] - plain).norm(dim=1)
    assert int(change.argmax()) == 3


def test_size_must_fit_the_grid() -> None:
    with pytest.raises(BadInput, match=r"100.*multiples of 32"):
        picture_backbone("efficientnet_lite0", size=100)


def test_size_is_part_of_the_fingerprint() -> None:
    assert picture_backbone("efficientnet_lite0", size=96).fingerprint != (
        picture_backbone("efficientnet_lite0", size=160).fingerprint
    )
