"""Items by their titles alone, beside those whose facts are said after them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import encoders
from encoders.appending import fitted, hidden
from encoders.backbones import TextBackbone, text_backbone
from encoders.config import load_config
from encoders.data import TrainItem, appended
from encoders.known_entities import know_entities
from encoders.lexicon import NONE
from encoders.looking import make_look
from encoders.preparing import prepare_table
from encoders.tables import Batch, TokenTable
from encoders.titles import Titles
from encoders.training import train
from kg.errors import BadInput
from tests.encoders.conftest import COLOURS, draw

TITLES = ("Nord red circle", "a thing of Orange", "shoes", "Nord", "blue cross", "x", "Orange black square", "thing")


def stock() -> list[TrainItem]:
    return [
        TrainItem(
            f"p{n}", f"p{n}", TITLES[n % 8], lambda n=n: draw(COLOURS[n % 6], "cross", n),  # type: ignore[misc]
            split="train", entities=(("brand", ("Nord", "Orange")[n % 2]), ("colour", COLOURS[n % 6].title())),
        )
        for n in range(16)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def text() -> TextBackbone:
    return text_backbone("minilm")


def known(name: str, text: TextBackbone, work: Path, **learner: Any) -> tuple[Titles, TokenTable]:
    """What gives a training with this config its batches."""
    config = load_config(name)
    if learner:
        config["learner"] |= learner
    items = [appended(item) for item in stock()]
    look, accelerator = make_look(config["picture"], None, device="cpu"), Accelerator(cpu=True)
    table = prepare_table(items, look, text, work, config["training"], cache=None, accelerator=accelerator,
                          on_progress=lambda done: None)  # fmt: skip
    found = know_entities(config, items, table, text, work, work, seed=0, cache=None, accelerator=accelerator)
    knowledge = found.knowledge(table, np.arange(16), config, seed=0, device="cpu")
    assert isinstance(knowledge, Titles)
    return knowledge, table


def ids(batch: Batch) -> list[list[int]]:
    """Of the words of each item."""
    return [row[mask].tolist() for row, mask in zip(batch.words, batch.text_mask, strict=True)]


@pytest.mark.parametrize("name", ["ei_clip_tiny+bare", "clip_style_tiny+bare", "ei_clip_tiny+bare+masking"])
def test_bare_items_have_the_tokens_of_the_title_alone(name: str, text: TextBackbone, tmp_path: Path) -> None:
    knowledge, table = known(name, text, tmp_path)
    rows = np.arange(16)
    given = knowledge.batch(table.batch(rows, "cpu"), rows, order=np.random.default_rng(0))
    whole = knowledge.batch(table.batch(rows, "cpu"), rows)
    lexicon = None if given.structured is None else knowledge.inner.reading.lexicon  # type: ignore[union-attr]
    titles = [item.text for item in stock()]
    if lexicon is not None:
        titles = lexicon.masked(titles, lexicon.find(titles))
    alone = [ids(given)[n] == text.ids([titles[n]])[0] for n in rows]
    assert 0 < sum(alone) < 16
    longer = [len(row) > len(own) for row, own in zip(ids(given), text.ids(titles), strict=True)]
    assert [not one for one in longer] == alone or "masking" in name
    fresh, mask = text.tokens([titles[n] for n in rows if alone[n]])
    for n, tokens, there in zip(np.flatnonzero(alone), fresh, mask, strict=True):
        torch.testing.assert_close(given.texts[n][given.text_mask[n]], tokens[there], atol=5e-3, rtol=0)  # float16
    if lexicon is not None:
        places = lexicon.find([item.text for item in stock()])
        if "masking" not in name:  # there an item whose facts are all masked reads as one that has none
            assert (given.structured.numpy()[alone] == places[alone]).all()  # type: ignore[union-attr]
        assert (places == NONE).all(axis=1).any()
        entities = [item.entities for item in stock()]
        read = hidden(lexicon, [item.text for item in stock()], entities, knowledge.inner.reading.items, text)  # type: ignore[union-attr]
        assert ids(whole) == text.ids(read)
    assert ids(whole) == ids(knowledge.batch(table.batch(rows, "cpu"), rows))  # validation draws nothing
    assert not any(row == own for row, own in zip(ids(whole), text.ids(titles), strict=True)) or "masking" in name


def test_all_and_none_of_the_items(text: TextBackbone, tmp_path: Path) -> None:
    knowledge, table = known("clip_style_tiny+bare", text, tmp_path)
    rows, draws = np.array([3, 0, 9]), np.random.default_rng(0)
    for rate, wanted in ((1.0, [item.text for item in stock()]), (0.0, [appended(item).text for item in stock()])):
        knowledge.rate = rate
        found = knowledge.batch(table.batch(rows, "cpu"), rows, order=draws)
        assert ids(found) == text.ids([wanted[n] for n in rows])


def test_a_training_with_titles_reads_a_title(features: Path, tmp_path: Path) -> None:
    for name in ("clip_style_tiny+bare", "ei_clip_tiny+bare"):
        report = train(name.split("_tiny")[0], stock(), tmp_path / name, config=name, epochs=2, cache=features,
                       device="cpu", tables=tmp_path)  # fmt: skip
        assert report.train_items == 16
        assert np.isfinite(encoders.load(tmp_path / name, device="cpu").encode_texts(["Nord", ""])).all()


def test_titles_that_differ_beyond_the_cut_are_another_training(
    text: TextBackbone, features: Path, tmp_path: Path
) -> None:
    long = " ".join(["good"] * 43)
    items = [replace(item, text=f"{long} thing") for item in stock()]
    other = [replace(items[0], text=f"{long} shirt"), *items[1:]]
    assert fitted(list(map(appended, items)), text)[0].text == fitted(list(map(appended, other)), text)[0].text
    for name in ("clip_style_tiny+bare", "ei_clip_tiny+not_bare+masking"):
        encoder, folder = name.split("_tiny")[0], tmp_path / name
        done = [
            train(encoder, some, folder, config=name, epochs=1, cache=features, device="cpu", tables=tmp_path).unchanged
            for some in (items, items, other, other)
        ]
        assert done == [False, True, False, True]
    look, accelerator = make_look(load_config("clip_style_tiny")["picture"], None, device="cpu"), Accelerator(cpu=True)
    (tmp_path / "alone").mkdir()
    for some, alike in ((items, True), (other, False)):
        table = prepare_table(fitted(list(map(appended, some)), text), look, text, tmp_path / "alone",
                              load_config("clip_style_tiny")["training"], cache=None, accelerator=accelerator,
                              on_progress=lambda done: None)  # fmt: skip
        assert (table.identity[0, 1] == table.identity[1, 1]) == alike


def test_titles_of_what_has_no_others(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"text\.bare: entities that are mined"):
        load_config("ege_cmp+bare")
    config = load_config("clip_style+bare")
    config["text"]["appended"] = False
    (tmp_path / "mine.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"text\.bare: without text\.appended"):
        load_config(tmp_path / "mine.json")


def test_configs_that_say_nothing_of_it_are_what_they_were() -> None:
    assert load_config("ei_clip")["text"]["bare"] == 0.25
    assert "bare" not in load_config("ei_clip+not_bare")["text"]
    assert load_config("clip_style+bare+not_appended") == load_config("clip_style")
