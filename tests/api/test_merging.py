"""Merging against a naive reference, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.merging import METHODS, Merged, MergeMethod, merge
from kg.errors import BadInput

List = tuple[list[str], list[float]]
A: List = (["x", "y", "v"], [0.9, 0.8, 0.1])
B: List = (["x", "z"], [0.95, 0.2])


def naive(lists: list[List], method: MergeMethod, k: int, top: int) -> list[Merged[str]]:
    if method == "round_robin":
        taken: list[Merged[str]] = []
        queues = [list(zip(*one, strict=True)) for one in lists]
        while any(queues):
            for at, queue in enumerate(queues):
                while queue and queue[0][0] in [entry.id for entry in taken]:
                    queue.pop(0)
                if queue:
                    taken.append(Merged(*queue.pop(0), at))
        return taken[:k]
    found = []
    for id in {id for ids, _ in lists for id in ids}:
        known = {at: scores[ids.index(id)] for at, (ids, scores) in enumerate(lists) if id in ids}
        if method == "max_score":
            total = max(known.values())
        else:
            all_scores = [known.get(at, scores[-1]) for at, (_, scores) in enumerate(lists) if scores]
            best = sorted(all_scores, reverse=True)[:top]
            total = sum(best) / len(best)
        winner = min(known, key=lambda at: (-known[at], at))
        found.append(Merged(id, total, winner))
    return sorted(found, key=lambda entry: (-round(entry.score, 9), entry.id))[:k]


@st.composite
def ranked(draw: st.DrawFn) -> list[List]:
    lists = []
    for _ in range(draw(st.integers(0, 5))):
        ids = draw(st.lists(st.sampled_from("abcdefghij"), max_size=8, unique=True))
        scores = sorted((draw(st.integers(-8, 8)) / 8 for _ in ids), reverse=True)  # few values: ties are common
        lists.append((ids, scores))
    return lists


@pytest.mark.parametrize("method", METHODS)
@given(lists=ranked(), k=st.integers(1, 12), top=st.integers(1, 6))
def test_it_is_the_naive_reference(method: MergeMethod, lists: list[List], k: int, top: int) -> None:
    found, expected = merge(lists, method, k, top=top), naive(lists, method, k, top)
    assert [(entry.id, entry.source) for entry in found] == [(entry.id, entry.source) for entry in expected]
    assert [entry.score for entry in found] == pytest.approx([entry.score for entry in expected])


def test_in_turn_each_gives_its_best_that_is_not_taken() -> None:
    assert merge([A, B], "round_robin", 10) == [
        Merged("x", 0.9, 0),
        Merged("z", 0.2, 1),  # x is taken
        Merged("y", 0.8, 0),
        Merged("v", 0.1, 0),
    ]
    assert [entry.id for entry in merge([A, B], "round_robin", 2)] == ["x", "z"]


def test_the_largest_score_wins_with_its_list() -> None:
    assert merge([A, B], "max_score", 2) == [Merged("x", 0.95, 1), Merged("y", 0.8, 0)]


def test_the_mean_counts_a_list_that_lacks_an_entry_as_its_last_score() -> None:
    x, y, *_ = merge([A, B], "mean_top", 4, top=5)
    assert (x.id, x.score, x.source) == ("x", pytest.approx(0.925), 1)
    assert (y.id, y.score, y.source) == ("y", pytest.approx(0.5), 0)  # 0.8 and the floor 0.2


def test_ids_may_be_numbers_and_scores_arrays() -> None:
    found = merge([([7, 3], np.array([0.5, 0.5], np.float32)), ([], np.empty(0))], "max_score", 5)
    assert found == [Merged(3, 0.5, 0), Merged(7, 0.5, 0)]
    assert all(type(entry.id) is int for entry in found)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_merges_to_nothing(method: MergeMethod) -> None:
    assert merge([], method, 3) == merge([([], [])], method, 3) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "best"}, "merge = 'best': there are round_robin, max_score, mean_top"),
        ({"k": 0}, "k = 0, top = 5: both are 1 or more"),
        ({"top": 0}, "k = 3, top = 0"),
        ({"lists": [(["a"], [0.1, 0.2])]}, r"a list of 1 ids has scores of shape \(2,\)"),
    ],
)
def test_what_cannot_be_merged_is_refused(values: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        merge(**{"lists": [A], "method": "max_score", "k": 3, **values})
