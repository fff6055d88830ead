from __future__ import annotations

from collections import Counter

import pytest

from api.facets import facets
from kg.filters import Filters
from kg.stores import Stores
from tests.api.world import build


@pytest.mark.parametrize(
    "asked", [{}, {"brand": "aurora"}, {"category": "Candles", "max_price": 60}, {"brand": "none"}]
)
def test_counts_are_those_of_the_filtered_catalogue(stores: Stores, asked: dict[str, object]) -> None:
    world = build(stores, seed=11, products=80)
    inside = world.admitted(Filters.model_validate(asked))
    found = facets(stores, Filters.model_validate(asked))
    assert found.total == len(inside)
    assert {row.key: row.count for row in found.brand} == Counter(item.brand_key for item in inside if item.brand_key)
    above = Counter(
        f"category:{' > '.join(item.category[:n]).casefold()}"
        for item in inside
        if item.category
        for n in range(1, len(item.category) + 1)
    )
    assert {row.key: row.count for row in found.category} == above
    counts = [row.count for row in found.category]
    assert counts == sorted(counts, reverse=True)


def test_a_facet_narrows_to_its_own_count(stores: Stores) -> None:
    build(stores, seed=12, products=60)
    for facet in facets(stores, Filters()).category:
        assert facets(stores, Filters(category=facet.key)).total == facet.count  # type: ignore[arg-type]
    assert len(facets(stores, Filters(), limit=2).brand) == 2
