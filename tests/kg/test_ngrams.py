from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg import ngrams
from kg.ngrams import count_grams

Caption = list[list[str]]
captions = st.lists(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), max_size=3), min_size=1, max_size=12
)


def naive_df(captions: list[Caption], length: int) -> Counter[tuple[str, ...]]:
    return Counter(
        run
        for caption in captions
        for run in {tuple(words[at : at + length]) for words in caption for at in range(len(words) - length + 1)}
    )


def naive_freedom(captions: list[Caption], run: tuple[str, ...]) -> float:
    least = math.inf
    for side in (-1, len(run)):
        beside: list[object] = []
        for caption in captions:
            for words in caption:
                for at in range(len(words) - len(run) + 1):
                    if tuple(words[at : at + len(run)]) == run:
                        inside = 0 <= at + side < len(words)
                        beside.append(words[at + side] if inside else object())
        counts = Counter(beside).values()
        least = min(least, -sum(n / len(beside) * math.log2(n / len(beside)) for n in counts))
    return min(1.0, least)


@settings(deadline=None)
@given(captions, st.integers(1, 3))
def test_counts_agree_with_naive_ones(captions: list[Caption], least: int) -> None:
    words, number, grams = count_grams(captions, least_df=least, most_words=3)
    assert number == len(captions)
    for length, level in enumerate(grams, 1):
        runs = [tuple(words[n] for n in row) for row in level.words]
        naive = naive_df(captions, length)
        assert dict(zip(runs, level.df.tolist(), strict=True)) == {r: n for r, n in naive.items() if n >= least}
        for run, df, cohesion, freedom in zip(runs, level.df, level.cohesion, level.freedom, strict=True):
            assert freedom == pytest.approx(naive_freedom(captions, run), abs=1e-9)
            if length > 1 and df < number:
                parts = [
                    naive_df(captions, cut)[run[:cut]] * naive_df(captions, length - cut)[run[cut:]]
                    for cut in range(1, length)
                ]
                expected = min(math.log(df * number / part) / -math.log(df / number) for part in parts)
                assert cohesion == pytest.approx(min(1.0, expected))


def test_blocks_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(3)
    captions = [[[f"w{n}" for n in chance.zipf(1.6, 8) % 50] for _ in range(2)] for _ in range(400)]
    expected = count_grams(captions, least_df=2, most_words=4)
    monkeypatch.setattr(ngrams, "BLOCK", 64)
    again = count_grams(reversed(captions), least_df=2, most_words=4)
    assert again[:2] == expected[:2]
    for one, two in zip(expected[2], again[2], strict=True):
        np.testing.assert_array_equal(one.words, two.words)
        np.testing.assert_array_equal(one.df, two.df)
        np.testing.assert_allclose(one.freedom, two.freedom)


def test_bounded_counts_are_never_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(4)
    rare = iter(range(10**9))
    captions = [[["tea", "pot", f"rare{next(rare)}", f"w{chance.integers(30)}"]] for _ in range(2000)]
    monkeypatch.setattr(ngrams, "WORDS", 200)
    monkeypatch.setattr(ngrams, "ENTRIES", 100)
    monkeypatch.setattr(ngrams, "BLOCK", 500)
    words, _, grams = count_grams(captions, least_df=2, most_words=3)
    held = {
        tuple(words[n] for n in row): int(df) for level in grams for row, df in zip(level.words, level.df, strict=True)
    }
    assert held["tea",] == held["tea", "pot"] == 2000
    assert not any(word.startswith("rare") for word in words)
    for run, df in held.items():
        assert df <= naive_df(captions, len(run))[run]


def test_no_captions() -> None:
    assert count_grams([], least_df=2, most_words=4) == ([], 0, [])
