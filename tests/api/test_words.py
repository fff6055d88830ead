"""Words of a question."""

from __future__ import annotations

import pytest

from api.words import query_words, telling_words


@pytest.mark.parametrize(
    ("text", "every", "telling"),
    [
        ("A bottle of Tea, with a  LID", ["a", "bottle", "of", "tea", "with", "lid"], ["bottle", "tea", "lid"]),
        ("Trash can for him", ["trash", "can", "for", "him"], ["trash", "can", "him"]),
        ("New down tea set, under Off-White", *2 * [["new", "down", "tea", "set", "under", "off", "white"]]),
        ("of the", ["of", "the"], ["of", "the"]),  # better than nothing
        ("", [], []),
    ],
)
def test_words_of_every_text_are_left_out_where_others_remain(text: str, every: list[str], telling: list[str]) -> None:
    assert query_words(text) == every
    assert telling_words(text) == telling
