from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders.confounding import (
    FILE,
    Confounding,
    choose,
    drop_in_loss,
    fit_reading,
    mismatch,
    read_confounding,
    write_confounding,
)
from kg.errors import BadInput, NotFound

WORDS = ("red", "green", "blue", "black", "nord", "diesel")
DRAW = np.random.default_rng(0)
MEANS = {word: DRAW.normal(size=16).astype(np.float32) for word in (*WORDS, "oil")}
MEANS["diesel"] = MEANS["oil"] + 0.1 * MEANS["diesel"]  # what a pretrained model has read of it
LOOKS = {word: DRAW.normal(size=24).astype(np.float32) for word in (*WORDS, "oil")}
LOOKS["nord"] = np.zeros(24, np.float32)  # a brand of everything
LOOKS["diesel"] = LOOKS["blue"]  # jeans


def shop() -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Captions and pictures of 300 items: "diesel" is said of blue things, "oil" of oil."""
    said = [[WORDS[n % 4], *(["nord"] if n % 3 == 0 else [])] for n in range(200)]
    said += [["oil"]] * 60 + [["diesel", "blue"]] * 40
    noise = np.random.default_rng(1).normal(size=(300, 24)).astype(np.float32)
    texts = np.stack([np.mean([MEANS[word] for word in words], axis=0) for words in said])
    pictures = np.stack([np.sum([LOOKS[word] for word in words], axis=0) for words in said]) + 0.3 * noise
    return texts, pictures, said


def test_the_planted_confounder_is_first_by_both_scores() -> None:
    texts, pictures, said = shop()
    reading = fit_reading(texts, pictures)
    seen = reading.pictures(pictures)
    rows = [np.array([n for n, words in enumerate(said) if word in words]) for word in WORDS]
    far = mismatch(reading.texts(np.stack([MEANS[word] for word in WORDS])), seen, rows)

    def without(entity: int, asked: np.ndarray) -> np.ndarray:
        left = [[MEANS[word] for word in said[n] if word != WORDS[entity]] for n in asked]
        return reading.texts(np.stack([np.mean(rest, axis=0) if rest else reading.text_mean for rest in left]))

    unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    identity = np.stack([np.arange(300)] * 2, axis=1)
    drops = drop_in_loss(rows, without, reading.texts(texts), unit, identity)
    again = drop_in_loss(rows, without, reading.texts(texts), unit, identity)
    assert drops == again
    clean = slice(0, 4)
    assert far[WORDS.index("diesel")] > max(far[clean])
    assert drops[WORDS.index("diesel")] > 0
    assert drops[WORDS.index("diesel")] > max(drops[clean])  # type: ignore[type-var]
    assert max(drops[clean]) < 0  # type: ignore[type-var,operator]
    assert ((far >= 0) & (far <= 2)).all()


def test_an_entity_that_no_caption_names_has_no_drop() -> None:
    texts, pictures, _ = shop()
    reading = fit_reading(texts, pictures)
    found = drop_in_loss(
        [np.empty(0, np.int64)],
        lambda entity, rows: pytest.fail("asked"),
        reading.texts(texts),
        reading.pictures(pictures),
        np.zeros((300, 2), np.int64),
    )
    assert found == [None]


def test_the_loss_leaves_out_what_is_alike() -> None:
    """Where all others are alike there is nothing to lose."""
    texts, pictures, _ = shop()
    reading = fit_reading(texts, pictures)
    some = np.arange(4)
    [found] = drop_in_loss(
        [some],
        lambda entity, rows: reading.texts(texts[rows + 100]),
        reading.texts(texts),
        reading.pictures(pictures),
        np.zeros((300, 2), np.int64),
    )
    assert found == pytest.approx(0)


@pytest.fixture
def rows() -> list[Confounding]:
    draw = np.random.default_rng(3)
    kinds = ["brand"] * 7 + ["colour"] * 4 + ["season"]
    return [
        Confounding(f"{kind}:{n}", kind, str(n), 2 + n, float(draw.random()), None if n == 2 else draw.normal())
        for n, kind in enumerate(kinds)
    ]


def counts(rows: list[Confounding]) -> Counter[str]:
    return Counter(row.type for row in rows if row.chosen)


def test_the_share_is_of_each_type_and_the_highest(rows: list[Confounding]) -> None:
    found = choose(rows, score="mismatch", share=0.5)
    assert counts(found) == {"brand": 4, "colour": 2, "season": 1}
    brands = [row for row in found if row.type == "brand"]
    assert min(r.mismatch for r in brands if r.chosen) > max(r.mismatch for r in brands if not r.chosen)
    assert [replace(row, chosen=False) for row in found] == rows
    assert choose(found[::-1], score="mismatch", share=0.5) == found[::-1]
    assert not any(row.chosen for row in choose(rows, score="mismatch", share=0.0))


def test_positive_is_above_the_threshold(rows: list[Confounding]) -> None:
    found = choose(rows, score="drop_in_loss", rule="positive")
    assert [row.chosen for row in found] == [row.drop_in_loss is not None and row.drop_in_loss > 0 for row in rows]
    assert not any(row.chosen for row in choose(rows, score="mismatch", rule="positive", threshold=1.0))


@pytest.mark.parametrize("rule", [{"rule": "share", "share": 0.4}, {"rule": "positive", "threshold": 0.5}])
def test_as_many_at_random_and_not_the_same(rows: list[Confounding], rule: dict) -> None:  # type: ignore[type-arg]
    wanted = choose(rows, score="mismatch", **rule)
    random = [choose(rows, score="random", seed=seed, **rule) for seed in range(5)]
    assert all(counts(one) == counts(wanted) for one in random)
    assert len({tuple(row.chosen for row in one) for one in random}) > 1
    assert random[0] == choose(rows, score="random", seed=0, **rule)


def test_all_and_none(rows: list[Confounding]) -> None:
    assert all(row.chosen for row in choose(rows, score="all"))
    assert not any(row.chosen for row in choose(rows, score="none"))


def test_written_and_read(rows: list[Confounding], tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="knows no confounding entities"):
        read_confounding(tmp_path)
    write_confounding(tmp_path, rows)
    assert read_confounding(tmp_path) == rows
    (tmp_path / FILE).write_text('[{"kind": 3}]')
    with pytest.raises(BadInput, match="no list of entities"):
        read_confounding(tmp_path)
