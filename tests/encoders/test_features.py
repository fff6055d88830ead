from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.backbones import picture_backbone, text_backbone
from encoders.features import FeatureCache, Recent, picture_tokens, text_tokens

Pictures = Callable[[int], list[Image.Image]]


def test_cached_tokens_are_the_computed_ones(tmp_path: Path, pictures: Pictures) -> None:
    backbone, cache = picture_backbone("efficientnet_lite0", size=96), FeatureCache.at(tmp_path, 1)
    images = pictures(6)
    plain = picture_tokens(backbone, images)
    assert plain.shape == (6, 9, backbone.width)
    assert (picture_tokens(backbone, images[:3], cache=cache) == plain[:3]).all()
    assert (picture_tokens(backbone, images, cache=cache) == plain).all()  # three known, three new
    assert (picture_tokens(backbone, images[::-1], cache=cache, batch=2) == plain[::-1]).all()


def test_a_hit_does_not_compute(tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, cache = picture_backbone("efficientnet_lite0", size=96), FeatureCache.at(tmp_path, 1)
    known = picture_tokens(backbone, pictures(4), cache=cache)
    monkeypatch.setattr(type(backbone), "tokens", lambda *_: pytest.fail("computed again"))
    assert (picture_tokens(backbone, pictures(4), cache=cache) == known).all()


def test_text_tokens_come_back_as_they_were(tmp_path: Path) -> None:
    backbone, cache = text_backbone("minilm"), FeatureCache.at(tmp_path, 1)
    texts = ["a red shoe", "", "a much longer caption of the very same shoe, in red", "a red shoe"]
    first = text_tokens(backbone, texts, cache=cache)
    assert [len(tokens) for tokens in first] == [5, 2, 15, 5]
    again = text_tokens(backbone, texts[::-1], cache=cache)[::-1]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    features, mask = backbone.tokens(texts[2:3])
    np.testing.assert_allclose(first[2].astype(np.float32), features[0][mask[0]].numpy(), atol=2e-3)


def test_backbones_do_not_share_entries(tmp_path: Path, pictures: Pictures) -> None:
    cache = FeatureCache.at(tmp_path, 1)
    for size, places in ((96, 9), (128, 16)):
        assert (
            picture_tokens(picture_backbone("efficientnet_lite0", size=size), pictures(2), cache=cache).shape[1]
            == places
        )


def test_stays_within_its_budget_and_forgets_the_oldest(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 0.01)
    entries = {n.to_bytes(32): np.random.default_rng(n).bytes(100_000) for n in range(300)}  # three times the budget
    for key, value in entries.items():
        cache.put({key: value})
    kept = cache.get(list(entries))
    assert 60 < len(kept) <= 100
    assert list(kept) == list(entries)[-len(kept) :]
    assert all(kept[key] == entries[key] for key in kept)


def _write(folder: Path, first: int) -> None:
    FeatureCache.at(folder, 1).put({n.to_bytes(32): str(n).encode() for n in range(first, first + 50)})


def test_processes_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, first)) for first in (0, 25, 50)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = FeatureCache.at(tmp_path, 1).get([n.to_bytes(32) for n in range(100)])
    assert [int(value) for value in found.values()] == list(range(100))


def test_recent_keeps_the_last_and_gives_the_computed(pictures: Pictures) -> None:
    backbone, recent = picture_backbone("efficientnet_lite0", size=96), Recent(4)
    plain = picture_tokens(backbone, pictures(6))
    assert (picture_tokens(backbone, pictures(6), cache=recent) == plain).all()
    assert len(recent.entries) == 4
    assert (picture_tokens(backbone, pictures(6)[::-1], cache=recent) == plain[::-1]).all()
    recent.put({b"a": b"1"})
    assert recent.get([b"a", b"b"]) == {b"a": b"1"}
