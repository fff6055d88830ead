from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality_data import fashion
from benchmarks.quality_described import described, described_figures, described_items, half, rebranded
from encoders.data import TrainItem
from encoders.protocol import Entities
from tests.benchmarks.test_quality import fashion_set as fashion_set
from tests.tiny_encoder import TinyEncoder

KINDS = ("brand", "colour", "season", "usage", "gender")


def thing(number: int) -> TrainItem:
    """The texts say nothing: what tells the things apart are their entities."""
    entities = tuple((kind, f"{kind} {number}") for kind in KINDS)
    return TrainItem(str(number), str(number), "a thing", lambda: Image.new("RGB", (8, 8)), "test", entities)


class Oracle(TinyEncoder):
    """Sees in each picture what its entities say."""

    def __init__(self, items: list[TrainItem]) -> None:
        super().__init__(entities=True)
        self.seen = self.encode_texts([item.text for item in items], [item.entities for item in items])
        self.asked: list[list[Entities]] = []

    def encode_texts(self, texts, entities=None):  # type: ignore[no-untyped-def]
        if hasattr(self, "asked"):
            self.asked.append(list(entities) if entities else [])
        return super().encode_texts(texts, entities)


@pytest.fixture
def items() -> list[TrainItem]:
    return [thing(number) for number in range(12)]


def test_half_is_half_and_always_the_same(items: list[TrainItem]) -> None:
    halves = [half(item) for item in items]
    assert halves == [half(item) for item in items]
    assert all(len(some) == 3 and set(some) < set(item.entities) for some, item in zip(halves, items, strict=True))
    assert len({tuple(kind for kind, _ in some) for some in halves}) > 1
    assert half(TrainItem("x", "x", "", Image.Image)) == []


def test_brands_have_other_names_or_none() -> None:
    entities = (("brand", "A.B. Co"), ("colour", "red"))
    item = TrainItem("1", "1", "a.b. co  red shoe by A.B. Co, a.b. company", Image.Image, "test", entities)
    assert rebranded(item, drop=True) == ("red shoe by , a.b. company", [("colour", "red")])
    text, given = rebranded(item, drop=False)
    name = dict(given)["brand"]
    assert text == f"{name} red shoe by {name}, a.b. company"
    assert len(name) == 6
    other = TrainItem("2", "2", "", Image.Image, "test", (("brand", "Other"),))
    assert dict(rebranded(other, drop=False)[1])["brand"] not in (name, "Other")


def test_given_half_none_and_unseen(items: list[TrainItem]) -> None:
    encoder, relevant, cold = Oracle(items), np.eye(12, dtype=bool), np.arange(12) < 3
    scores = encoder.seen @ described(encoder, items).T
    found = described_figures(encoder, items, encoder.seen, scores, relevant, cold)
    assert found["half/i2t/R@1"] == 100
    asked = [[len(given) for given in texts] for texts in encoder.asked[:3]]
    assert asked == [[5] * 12, [3] * 12, []]  # all, half of five rounded up, and nothing
    assert found["none/i2t/R@1"] == 0  # all texts are one
    assert found["cold/i2t/R@1"] == found["cold/t2i/R@1"] == 100
    assert found["cold/hidden/i2t/R@1"] == 100
    assert found["unseen/i2t/R@1"] == 100
    hidden = encoder.asked[-1]
    assert all("brand" not in dict(given) and len(given) == 4 for given in hidden)
    assert {name.rsplit("/", 2)[0] for name in found} == {
        "half", "none", "unseen", "unbranded", "cold", "cold/hidden"
    }  # fmt: skip
    assert described_figures(encoder, items, encoder.seen, scores, relevant, np.zeros(12, bool)).keys() == {
        name for name in found if not name.startswith("cold")
    }


def test_an_encoder_that_takes_none_is_measured_as_before(items: list[TrainItem]) -> None:
    encoder = TinyEncoder()
    texts = described(encoder, items)
    np.testing.assert_array_equal(texts, encoder.encode_texts(["a thing"] * 12))
    images = [item.open_picture() for item in items]
    np.testing.assert_array_equal(described_items(encoder, items), encoder.encode_items(images, ["a thing"] * 12))
    found = described_figures(
        encoder, items, texts, np.eye(12, dtype=np.float32), np.eye(12, dtype=bool), np.arange(12) < 3
    )
    assert {name.split("/")[0] for name in found} == {"cold"}


def test_protocol_1_gives_entities_to_those_that_take_them(fashion_set: Path) -> None:
    benchmark = fashion(fashion_set, None, False)
    assert benchmark.training[0].entities[:2] == (("brand", "b"), ("category", "Apparel"))
    assert benchmark.facts["test items of a brand that is in no training item"] == 0
    [given] = [way.test for way in benchmark.measure(TinyEncoder(entities=True)).ways.values()]
    [plain] = [way.test for way in benchmark.measure(TinyEncoder()).ways.values()]
    assert given["none/i2t/R@1"] == plain["i2t/R@1"]
    assert given["i2t/R@1"] != plain["i2t/R@1"]
    assert not any(name.startswith(("half", "none", "cold")) for name in plain)
