from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.errors import BadInput
from kg.mining import dictionary, fold, mine, tag
from kg.phrases import Phrases
from kg.words import stretches

TEA = [
    f"{leaf} tea, flip flops {colour} {extra}"
    for leaf in ("green", "black", "white")
    for colour in ("red", "blue", "navy")
    for extra in ("for men", "for women", "")
]


def keys(captions: Sequence[str], caption: str, **options: int) -> tuple[str, ...]:
    return tag(dictionary(mine(captions, **options)), caption)


def texts(captions: Sequence[str], **options: int) -> set[str]:
    return {one.text for one in mine(captions, **options)}


def test_words_that_stand_together_are_one_phrase() -> None:
    found = {one.key: one for one in mine(TEA)}
    assert found["phrase:flip flops"].df == len(TEA)
    assert found["phrase:flip flops"].type == "phrase"
    assert "phrase:flip" not in found  # hardly ever alone
    assert "phrase:green tea" not in found  # three leaves, each as often as the others: no more than chance
    assert {"phrase:green", "phrase:tea", "phrase:navy", "phrase:men"} <= found.keys()
    assert "phrase:for men" not in found
    assert "phrase:for" not in found


def test_a_phrase_that_is_always_part_of_a_longer_one_is_none() -> None:
    captions = [f"{word} united colours of benetton {other}" for word in ("red", "blue") for other in "abcdefgh"]
    found = texts(captions)
    assert "united colours of benetton" in found
    assert not {"united", "colours", "benetton", "united colours", "colours of benetton"} & found


def test_new_words_of_chinese() -> None:
    brand = "珂润"  # no word of jieba's dictionary
    captions = [
        f"{brand}{kind}{what}" for kind in ("保湿", "补水", "清爽") for what in ("面霜", "眼霜", "乳液", "精华")
    ]
    assert {brand, "保湿", "面霜"} <= texts(captions)
    assert f"phrase:{brand}" in keys(captions, f"正品{brand}男士面霜")
    assert "润" not in texts(captions)


@pytest.mark.parametrize(
    ("spellings", "key"),
    [
        (["Tea Pot", "TEA POT", "tea  pot"], "phrase:tea pot"),  # case and white space
        (["ＴＥＡ", "tea", "Tea"], "phrase:tea"),  # width
        (["Lancôme", "Lancôme", "Lancome"], "phrase:lancôme"),  # accents: as it is written most often
        (["tshirt", "T-Shirt", "t-shirt"], "phrase:t-shirt"),  # punctuation
        (["Cafe\u0301", "Café", "café"], "phrase:café"),
    ],
)
def test_spellings_of_one_entity(spellings: list[str], key: str) -> None:
    captions = [f"{spelling}; {n}x" for spelling in spellings for n in range(6)]
    found = mine(captions)
    assert [one.key for one in found] == [key]
    assert found[0].df == len(captions)
    assert all(tag(dictionary(found), f"a {spelling}!") == (key,) for spelling in spellings)


def test_words_with_vowel_signs_stay_whole() -> None:
    assert stretches("हिन्दी चाय, ชา") == [["हिन्दी", "चाय"], ["ช", "า"]]
    assert stretches("ปีใหม่")[0][0] == "ปี"
    found = Phrases([("phrase:दिल", "दिल")])
    assert [one.start for one in found.find("एक दिल")] == [3]
    assert found.find("एक दिली") == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Café", "cafe", True),
        ("tea\u2764\ufe0f", "Tea", True),
        ("\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd", True),  # with its points, without
        ("バス", "ハス", False),  # a bus, a lotus
        ("दिल", "दल", False),  # the heart, a party
        ("ปี", "ปา", False),
    ],
)
def test_accents_are_no_vowels(one: str, other: str, same: bool) -> None:
    assert (fold(one) == fold(other)) == same


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_of_captions_does_not_matter(chance: random.Random) -> None:
    shuffled = list(TEA)
    chance.shuffle(shuffled)
    assert mine(shuffled) == mine(TEA)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_anything_is_a_caption(captions: list[str]) -> None:
    phrases = dictionary(found := mine(captions * 2))
    assert len({one.key for one in found}) == len(found)
    assert len({fold(one.text) for one in found}) == len(found)
    assert all(one.df >= 2 and one.text in one.spellings for one in found)
    for caption in captions:
        assert set(tag(phrases, caption)) <= {one.key for one in found}


@pytest.mark.parametrize("caption", ["", "the of and with", "👍🏽🎉", "10 ml / 20 ml", "的 了 和", "...", "\n\t"])
def test_captions_that_say_nothing(caption: str) -> None:
    assert mine([caption] * 5) == []
    assert keys(TEA, caption) == ()


def test_long_and_mixed_captions() -> None:
    long = "flip flops, " + ", ".join(f"word{n}" for n in range(1500))
    assert len(long) > 10_000
    assert keys([*TEA, long], long) == ("phrase:flip flops",)
    assert "word999" in texts([long, long])
    mixed = "Lancôme 兰蔻 крем ครีม 크림 クリーム 👍 50ml"
    found = texts([mixed] * 6)
    assert {"lancôme", "兰蔻", "крем"} <= found
    beyond = ["x" * 10_000 + " hidden"] * 3
    assert mine(beyond) == []  # nobody reads that far, and no word is that long


def test_rare_ones_first_and_at_most_so_many() -> None:
    captions = ["tea cup"] * 3 + ["tea, jug"] * 2 + ["tea; pot"] * 9
    assert keys(captions, "pot, jug, tea") == ("phrase:jug", "phrase:pot", "phrase:tea")
    assert tag(dictionary(mine(captions)), "pot, jug, tea", most=1) == ("phrase:jug",)
    assert tag(dictionary(mine(captions)), "pot, jug, tea", most=0) == ()
    plain = Phrases([("k:rose gold", "rose gold"), ("k:tea", "tea"), ("k:cup", "cup")])  # no counts: the longest
    assert tag(plain, "tea cup, rose gold") == ("k:rose gold", "k:tea", "k:cup")


def test_best_first_and_at_most_so_many() -> None:
    found = mine(TEA)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert mine(TEA, most=2) == found[:2]
    assert all(one.df >= 7 for one in mine(TEA, least_df=7))
    assert "flip flops" not in texts(TEA, most_words=1)


@pytest.mark.parametrize("options", [{"least_df": 0}, {"most_words": 0}, {"most": 0}])
def test_bad_arguments(options: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=f"{next(iter(options))} = 0"):
        mine(TEA, **options)
