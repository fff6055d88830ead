"""A vocabulary learned from captions: what it reads, that it is the same each time, and the warning before it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import load
from encoders.backbones import text_backbone
from encoders.backbones.vocabulary import (
    Vocabulary,
    learn_vocabulary,
    strongest,
    unknown_share,
    warn_unknown,
    word_vectors,
)
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.training import Progress, TrainReport, train
from kg.errors import BadInput

BRANDS, KINDS, PROMISES = (
    ("韩束", "雅诗兰黛", "完美日记"),
    ("面霜 50g", "口红", "精华液"),
    ("补水保湿", "美白", "抗皱紧致"),
)
CAPTIONS = ["".join(parts) for parts in product(BRANDS, KINDS, PROMISES)]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    learn_vocabulary(CAPTIONS, folder, width=32)
    return folder


def test_chinese_is_read_a_character_at_a_time(learned: Path) -> None:
    backbone = Vocabulary(learned)
    assert backbone.tokenizer.tokenize("韩束面霜 50G") == ["韩", "束", "面", "霜", "50g"]
    assert unknown_share(backbone, CAPTIONS) == 0
    assert unknown_share(backbone, ["龘龘韩"]) == pytest.approx(2 / 3)
    assert backbone.ids(["韩"]) == [[2, backbone.tokenizer.convert_tokens_to_ids("韩"), 3]]


def test_the_packaged_tokenizer_cannot_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        share = warn_unknown(text_backbone("minilm"), CAPTIONS)
    assert share > 0.4
    assert f"cannot read {100 * share:.0f} %" in caplog.text
    caplog.clear()
    assert warn_unknown(text_backbone("minilm"), ["a red shirt", "blue jeans"]) == 0
    assert caplog.text == ""


def test_tokens_have_places_and_do_not_depend_on_the_batch(learned: Path) -> None:
    backbone = Vocabulary(learned, places=8)
    features, mask = backbone.tokens([CAPTIONS[0], "霜", ""])
    assert features.shape == (3, 8, 32)
    assert mask.sum(dim=1).tolist() == [8, 3, 2]  # the first is cut
    alone, _ = backbone.tokens(["霜"])
    torch.testing.assert_close(features[1, :3], alone[0])
    twice = backbone.tokens(["霜霜"]).features[0]
    assert not torch.allclose(twice[1], twice[2])  # the same word elsewhere
    ids = torch.tensor(backbone.ids(["霜"]))
    torch.testing.assert_close(backbone.hidden(ids, torch.ones_like(ids, dtype=torch.bool)), alone)


def test_the_same_captions_give_the_same_files(learned: Path, tmp_path: Path) -> None:
    learn_vocabulary(CAPTIONS, tmp_path / "again", width=32)
    again = Vocabulary(tmp_path / "again")
    assert again.fingerprint == Vocabulary(learned).fingerprint
    again.tokens(CAPTIONS)  # padding and truncation leave no trace
    again.save_tokenizer(tmp_path / "copy")
    copy = Vocabulary(tmp_path / "copy")
    assert copy.fingerprint == again.fingerprint
    torch.testing.assert_close(copy.tokens(CAPTIONS[:3]).features, again.tokens(CAPTIONS[:3]).features)
    learn_vocabulary(CAPTIONS[:9], tmp_path / "other", width=32)
    assert Vocabulary(tmp_path / "other").fingerprint != again.fingerprint


def test_words_of_like_company_are_near() -> None:
    # Words 5 and 6 are said with 9, words 7 and 8 with 10.
    counts = torch.zeros(11, 11)
    for word, company in ((5, 9), (6, 9), (7, 10), (8, 10)):
        counts[word, company] = counts[company, word] = 5
    vectors = torch.nn.functional.normalize(word_vectors(counts, 256), dim=1)
    near, far = [vectors[5] @ vectors[6], vectors[7] @ vectors[8]], [vectors[5] @ vectors[7], vectors[6] @ vectors[8]]
    assert min(near) > 0.3 > 0.25 > max(map(abs, far))
    assert max(near) < 0.9  # of the same company, and still two words


def test_large_vocabularies_find_the_same_directions() -> None:
    draw = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(1100, 40, generator=draw)).Q
    symmetric = basis * torch.linspace(9, 1, 40) @ basis.T  # above the size at which all directions are computed
    vectors, values = strongest(symmetric, 8)
    every, directions = torch.linalg.eigh(symmetric)
    torch.testing.assert_close(values, every.flip(0)[:8], rtol=1e-4, atol=0)
    torch.testing.assert_close((vectors * directions.flip(1)[:, :8]).sum(dim=0).abs(), torch.ones(8), rtol=1e-3, atol=0)


def test_no_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="hold no words"):
        learn_vocabulary(["", " "], tmp_path)
    with pytest.raises(BadInput, match="holds no vocabulary"):
        Vocabulary(tmp_path / "none")


def in_chinese(items: list[TrainItem]) -> list[TrainItem]:
    words = {"a": "", "red": "红色", "green": "绿色", "blue": "蓝色", "orange": "橙色", "purple": "紫色",
             "black": "黑色", "circle": "圆形", "square": "方形", "cross": "十字"}  # fmt: skip
    return [replace(item, text="".join(words[word] for word in item.text.split()), split="train") for item in items]


def test_an_encoder_learns_to_read_its_own_captions(
    items: list[TrainItem], features: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chinese = in_chinese(items)
    config = load_config("clip_style_tiny")
    reports = {}
    for backbone, epochs in (("minilm", 1), ("vocabulary", 40)):
        config["text"]["backbone"] = backbone
        (tmp_path / f"{backbone}.json").write_text(json.dumps(config))
        with caplog.at_level(logging.WARNING):
            reports[backbone] = train("clip_style", chinese, tmp_path / backbone, config=tmp_path / f"{backbone}.json",
                                      epochs=epochs, device="cpu", cache=features)  # fmt: skip
    assert reports["vocabulary"].unknown_words == 0
    assert reports["minilm"].unknown_words > 0.3
    assert caplog.text.count("cannot read") == 1
    encoder = load(tmp_path / "vocabulary", device="cpu", cache=features)
    kinds = chinese[::6]
    scores = (
        encoder.encode_images([item.open_picture() for item in kinds])
        @ encoder.encode_texts([item.text for item in kinds]).T
    )
    assert (scores.argmax(axis=1) == np.arange(18)).mean() > 0.5
    with pytest.raises(BadInput, match="a training learns it first"):
        text_backbone("vocabulary")


def test_a_training_that_is_cut_short_leaves_the_older_encoder_its_words(
    items: list[TrainItem], features: Path, tmp_path: Path
) -> None:
    config = load_config("clip_style_tiny", epochs=1)
    config["text"]["backbone"] = "vocabulary"
    (tmp_path / "my.json").write_text(json.dumps(config))

    def run(some: list[TrainItem], on_progress: Progress = lambda stage, done, total, figures: None) -> TrainReport:
        return train("clip_style", some, tmp_path / "out", config=tmp_path / "my.json", device="cpu", cache=features,
                     on_progress=on_progress)  # fmt: skip

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    chinese = in_chinese(items)
    first = run(chinese)
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(KeyboardInterrupt):
        run([replace(item, text=f"{item.text}羊毛") for item in chinese], stop)
    assert load(tmp_path / "out", device="cpu").fingerprint == first.fingerprint
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == files
    assert run(chinese).unchanged
