from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from encoders import load
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.kept import Kept, principal
from encoders.training import train
from kg.errors import BadInput


def test_principal_components_are_half_whitened() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(400, 12, generator=draw) * torch.logspace(0, -2, 12) + 3
    weight, bias = principal(features, 5)
    assert weight.shape == (5, 12)
    found = features @ weight.T + bias
    assert torch.allclose(found.mean(dim=0), torch.zeros(5), atol=1e-3)
    covariance = (found.T @ found) / len(found)
    assert torch.allclose(covariance, torch.diag(covariance.diagonal()), atol=1e-3)
    spread = torch.linalg.svdvals(features - features.mean(dim=0))[:5]
    assert torch.allclose(covariance.diagonal() / covariance[0, 0], spread / spread[0], rtol=1e-2)
    assert len(principal(features, 99)[0]) == 12


def test_fewer_pictures_than_components() -> None:
    draw = torch.Generator().manual_seed(2)
    features, others = (torch.randn(count, 200, generator=draw) + 3 for count in (60, 40))
    weight, bias = principal(features, 128)
    assert len(weight) == 59  # the mean is taken away: nothing is left for a sixtieth
    part = normalize(others @ weight.T + bias, dim=1)
    assert float((part**2).max()) < 0.5  # no component is all there is
    flat = torch.randn(60, 3, generator=draw) @ torch.randn(3, 200, generator=draw)
    assert len(principal(flat, 128)[0]) == 3
    same = principal(torch.ones(5, 12), 4)
    assert len(same[0]) == 1
    assert torch.isfinite(torch.ones(12) @ same[0].T + same[1]).all()


def test_pictures_compare_by_both_parts_and_texts_by_the_trained_one() -> None:
    draw = torch.Generator().manual_seed(1)
    pictures, texts = (normalize(torch.randn(6, 8, generator=draw), dim=1) for _ in range(2))
    features = torch.randn(6, 12, generator=draw)
    kept = Kept(*principal(torch.randn(50, 12, generator=draw), 5), share=0.3)
    seen, read = kept.pictures(pictures, features), kept.texts(texts)
    assert seen.shape == read.shape == (6, 13)
    assert torch.allclose(seen.norm(dim=1), torch.ones(6))
    assert torch.allclose(read.norm(dim=1), torch.ones(6))
    assert torch.allclose(seen @ read.T, 0.7**0.5 * pictures @ texts.T, atol=1e-6)
    part = normalize(features @ kept.weight.T + kept.bias, dim=1)
    assert torch.allclose(seen @ seen.T, 0.7 * pictures @ pictures.T + 0.3 * part @ part.T, atol=1e-6)


def test_a_trained_encoder_has_both_parts(tmp_path: Path, items: list[TrainItem], features: Path) -> None:
    config = load_config("capture_tiny+no_detector") | {"kept": {"dim": 16, "share": 0.4}}
    config["training"]["epochs"] = 2
    plain = {name: part for name, part in config.items() if name != "kept"}
    opened = []
    for name, chosen in (("both", config), ("plain", plain)):
        (tmp_path / f"{name}.json").write_text(json.dumps(chosen))
        train("capture", items, tmp_path / name, config=tmp_path / f"{name}.json", device="cpu", cache=features)
        opened.append(load(tmp_path / name, device="cpu", cache=features))
    both, alone = opened
    both.save_pretrained(tmp_path / "copy")
    again = load(tmp_path / "copy", device="cpu", cache=features)
    assert (again.dim, again.fingerprint) == (both.dim, both.fingerprint)
    assert both.dim == alone.dim + 16
    assert both.fingerprint != alone.fingerprint
    pictures = [Image.new("RGB", (64, 48), colour) for colour in ("red", "navy", "olive")]
    seen, lone = both.encode_images(pictures), alone.encode_images(pictures)
    assert np.array_equal(again.encode_images(pictures), seen)
    assert np.allclose(seen[:, : alone.dim], 0.6**0.5 * lone, atol=1e-5)
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    box = np.array([[0, 0, 64, 48]], np.float32)
    assert np.allclose(both.encode_regions(pictures[:1], [box])[0], seen[:1], atol=2e-3)
    read = both.encode_texts(["a red box", ""])
    assert np.allclose(read[:, : alone.dim], alone.encode_texts(["a red box", ""]), atol=1e-6)
    assert not read[:, alone.dim :].any()
    together = both.encode_items(pictures, ["red", "navy", "olive"])
    assert together.shape == (3, both.dim)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_a_config_without_a_global_token_has_nothing_to_keep() -> None:
    with pytest.raises(BadInput, match=r"picture\.tokens = grid has not"):
        load_config("clip_style+kept")
    assert load_config("capture+kept")["kept"] == {"dim": 256, "share": 0.6}
    assert "kept" not in load_config("capture+kept+not_kept")
