"""Fusion against a naive twin, and its promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fusion import Ranked, fuse, ordered

IDS = st.sampled_from("abcdefgh")
LISTS = st.dictionaries(
    st.sampled_from(["one", "two", "three"]),
    st.dictionaries(IDS, st.sampled_from([0.1, 0.25, 0.5, 0.9])).map(
        lambda scores: ordered([Ranked(product, f"{product}#img0", score) for product, score in scores.items()])
    ),
)


@given(LISTS, st.dictionaries(st.sampled_from(["one", "two"]), st.sampled_from([0.5, 2.0])))
def test_rrf_is_the_sum_of_reciprocal_ranks(lists: dict[str, list[Ranked]], weights: dict[str, float]) -> None:
    fused = fuse(lists, weights=weights, constant=60)
    expected: dict[str, float] = {}
    for name, items in lists.items():
        for position, item in enumerate(items):
            expected[item.product_id] = expected.get(item.product_id, 0) + weights.get(name, 1) / (61 + position)
    assert {item.product_id: item.score for item in fused} == pytest.approx(expected)
    keys = [(-item.score, item.product_id) for item in fused]
    assert keys == sorted(keys)
    for item in fused:
        assert set(item.ranks) == {
            name for name, items in lists.items() if item.product_id in [i.product_id for i in items]
        }


@given(LISTS)
def test_one_list_keeps_its_order(lists: dict[str, list[Ranked]]) -> None:
    for name, items in lists.items():
        for method in ("rrf", "weighted"):
            assert [i.product_id for i in fuse({name: items}, method=method)] == [i.product_id for i in items]


def test_weighted_scales_each_list_so_that_bm25_does_not_drown_the_cosines() -> None:
    lists = {
        "picture-image": [Ranked("a", "a#img0", 0.9), Ranked("b", "b#img0", 0.7), Ranked("c", "c#img0", 0.5)],
        "lexical": [Ranked("b", "", 31.0), Ranked("c", "", 11.0)],
    }
    fused = fuse(lists, method="weighted")
    assert [(i.product_id, round(i.score, 6)) for i in fused] == [("b", 1.5), ("a", 1.0), ("c", 0.0)]
    assert fused[0].ranks == {"picture-image": 2, "lexical": 1}
    assert fused[0].scores == {"picture-image": 0.7, "lexical": 31.0}


def test_weight_nought_silences_a_list() -> None:
    lists = {"one": [Ranked("a", "", 1.0)], "two": [Ranked("b", "", 1.0)]}
    assert [i.product_id for i in fuse(lists, weights={"two": 0})] == ["a"]
