from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.conditions import EVERYTHING, NOTHING, All, AnyOf, Condition, Leaf, Not, folded, holds, leaves
from kg.graph.cypher.filters import CONDITIONS
from kg.graph.selection import Selection

A, B, EMPTY = Leaf("brands", ["brand:a"]), Leaf("max_price", 0.0), Leaf("entities", [])

conditions = st.recursive(
    st.sampled_from([A, B, EMPTY, Leaf("sellers", ())]),
    lambda parts: st.one_of(
        st.builds(Not, parts),
        st.lists(parts, max_size=3).map(lambda some: All(tuple(some))),
        st.lists(parts, max_size=3).map(lambda some: AnyOf(tuple(some))),
    ),
    max_leaves=8,
)


@given(conditions, st.booleans(), st.booleans())
def test_what_is_folded_means_the_same(condition: Condition, a: bool, b: bool) -> None:
    def passes(leaf: Leaf) -> bool:
        return (leaf == A and a) or (leaf == B and b)

    assert holds(folded(condition), passes) == holds(condition, passes)


@given(conditions)
def test_what_is_folded_is_flat(condition: Condition) -> None:
    found = folded(condition)
    assert folded(found) == found
    assert found in (EVERYTHING, NOTHING) or set(map(str, leaves(found))) <= {str(A), str(B)}
    assert found in (EVERYTHING, NOTHING) or "parts=()" not in str(found)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (All(), EVERYTHING),
        (AnyOf(), NOTHING),
        (EMPTY, NOTHING),
        (Not(EMPTY), EVERYTHING),
        (Not(Not(A)), A),
        (All((A, Not(EMPTY))), A),
        (All((A, EMPTY)), NOTHING),
        (AnyOf((A, All())), EVERYTHING),
        (AnyOf((A, AnyOf((B, EMPTY)))), AnyOf((A, B))),
        (All((A, All((B,)))), All((A, B))),
        (B, B),
    ],
)
def test_folded(condition: Condition, expected: Condition) -> None:
    assert folded(condition) == expected


def test_a_selection_is_all_that_is_asked() -> None:
    assert Selection().tree == EVERYTHING
    assert Selection({"brands": ["brand:a"], "max_price": 0.0}).tree == All((A, B))
    assert Selection({"brands": ["brand:a"]}, more=(Not(B),)).tree == All((A, Not(B)))
    assert Selection({"brands": []}).nothing
    assert Selection({"brands": ["brand:a"]}, more=(EMPTY,)).nothing
    assert Selection(more=(Not(EMPTY),)).everything
    assert {leaf.name for leaf in leaves(Selection({"max_price": 0.0}).tree)} <= set(CONDITIONS)
