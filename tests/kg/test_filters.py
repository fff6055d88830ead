from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kg.errors import BadFilter
from kg.filters import MAX_VALUES, Filters


def test_one_value_is_a_list_of_one() -> None:
    assert Filters.model_validate({"brand": " Aurora ", "seller": None}) == Filters(brand=("Aurora",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"brnd": "x"}, "unknown filter 'brnd', did you mean 'brand'?. known: brand, category, entity, near"),
        ({"colour": "x"}, "unknown filter 'colour'. known: brand"),
        ({"brand": 3}, "filter brand = 3: "),
        ({"brand": ["ok", " "]}, "filter brand.1 = ' '"),
        ({"brand": ["x"] * (MAX_VALUES + 1)}, "filter brand = "),
        ({"min_price": "cheap"}, "filter min_price = 'cheap'"),
        ({"min_price": -1}, "filter min_price = -1"),
        ({"max_price": float("nan")}, "filter max_price = nan"),
        ({"min_price": 5, "max_price": 2}, "min_price 5 is above max_price 2"),
        ({"hops": 2}, "hops and min_weight go with near"),
        ({"near": "amber", "hops": 5}, "filter hops = 5"),
        ({"near": "amber", "min_weight": 1.5}, "filter min_weight = 1.5"),
        ({"updated_since": "yesterday"}, "filter updated_since = 'yesterday'"),
        ({"updated_since": "1970-01-01"}, "must be later than 1970"),
        ({"cypher": ""}, "filter cypher = ''"),
    ],
)
def test_every_refusal_names_the_field(fields: dict[str, object], message: str) -> None:
    with pytest.raises(BadFilter) as refusal:
        Filters.model_validate(fields)
    assert message in str(refusal.value)


def test_moments_are_whole_seconds_of_utc() -> None:
    east = datetime(2026, 1, 1, 2, 0, 0, 999, timezone(timedelta(hours=2)))
    assert Filters(updated_since=east).updated_since == datetime(2026, 1, 1, tzinfo=UTC)
    assert Filters(updated_since=datetime(2026, 1, 1)).updated_since == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("fields", [{}, {"brand": []}, {"cypher": None}])
def test_empty_filters_ask_nothing(fields: dict[str, object]) -> None:
    assert Filters.model_validate(fields).empty


@pytest.mark.parametrize("fields", [{"min_price": 0}, {"brand": "x"}, {"near": "x", "hops": 0}, {"cypher": "RETURN 1"}])
def test_other_filters_do_not(fields: dict[str, object]) -> None:
    assert not Filters.model_validate(fields).empty


def test_json_and_back() -> None:
    asked = Filters(near=("a",), hops=2, min_price=1, updated_since=datetime(2026, 1, 1))
    assert Filters.model_validate_json(asked.model_dump_json()) == asked
