from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.errors import BadSetting
from kg.records import normalise
from kg.scripts import unspaced
from kg.words import _UNSPACED, STOP_WORDS, _cutter, join, meaningful, stretches


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Rose  GOLD ring", [["rose", "gold", "ring"]]),
        ("cotton T-Shirt, men's", [["cotton", "t-shirt"], ["men's"]]),
        ("red/blue (2 pcs)", [["red"], ["blue"], ["2", "pcs"]]),
        ("ＡＢＣ ｃａｆé", [["abc", "café"]]),
        ("韩国AHC黄金面霜", [["韩国"], ["ahc"], ["黄金", "面霜"]]),
        ("纯棉T恤 男士", [["纯棉"], ["t", "恤"], ["男士"]]),
        ("tea 👍🏽 cup", [["tea"], ["cup"]]),
        ("ชา", [["ช", "า"]]),
        ("", []),
        ("🎉 … --", []),
    ],
)
def test_stretches(caption: str, expected: list[list[str]]) -> None:
    assert stretches(caption) == expected


@pytest.mark.parametrize(
    ("word", "says"),
    [("mug", True), ("the", False), ("50ml", False), ("125ml+200ml", False), ("12", False), ("sk2", True),
     ("正品", False), ("黄金", True), ("24x7cm", False), ("t90", True)],
)  # fmt: skip
def test_meaningful(word: str, says: bool) -> None:
    assert meaningful(word) is says


@given(st.text(alphabet=st.sampled_from("ab -,1黄金水 é'\n👍"), max_size=30))
def test_a_stretch_stands_in_its_caption(caption: str) -> None:
    text = normalise(caption)
    for words in stretches(caption):
        assert words
        assert join(words) in text


@given(st.text(max_size=40))
def test_any_text_has_words_or_none(caption: str) -> None:
    assert all(word == normalise(word) and word for words in stretches(caption) for word in words)


@given(st.characters())
def test_scripts_agree(letter: str) -> None:
    """The pattern of words and `kg.scripts` part the same letters."""
    assert bool(re.match(f"[{_UNSPACED}]", letter)) is unspaced(letter)


def test_stop_words_are_normalised() -> None:
    assert {normalise(word) for word in STOP_WORDS} == STOP_WORDS


def test_chinese_without_jieba_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    _cutter.cache_clear()
    try:
        assert stretches("plain words") == [["plain", "words"]]
        with pytest.raises(BadSetting, match=r"skugraph\[chinese\]"):
            stretches("黄金面霜")
    finally:
        _cutter.cache_clear()
