from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kg.errors import BadFilter
from kg.filters import MAX_DEPTH, MAX_NESTED, MAX_PATTERNS, MAX_VALUES, Filters


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


def nested(depth: int) -> dict[str, object]:
    """Filters within so many `not`."""
    found: dict[str, object] = {"brand": "x"}
    for _ in range(depth):
        found = {"not": found}
    return found


@pytest.mark.parametrize(
    ("fields", "message", "place"),
    [
        ({"any": [{"brand": "x"}, {"not": {"brnd": "x"}}]}, "unknown filter 'any.1.not.brnd', did", "any.1.not.brnd"),
        ({"any": [{"brand": "x"}, {"not": {"brand": 3}}]}, "filter any.1.not.brand = 3: ", "any.1.not.brand"),
        ({"not": [{"brand": "x"}, {"seller": [" "]}]}, "filter not.1.seller.0 = ' '", "not.1.seller.0"),
        ({"all": [{"min_price": 5, "max_price": 2}]}, "filter all.0 = {'min_price': 5", "all.0"),
        ({"all": [{"any": [{"near": "x"}, {"hops": 2}]}]}, "hops and min_weight go with near", "all.0.any.1"),
        ({"all": [{"any": []}]}, "filter all.0 asks for nothing. leave it out", "all.0"),
        ({"brand": "x", "not": {}}, "filter not asks for nothing", "not"),
        ({"any": [{"brand": "x"}, None]}, "filter any.1 = None: Input should be a valid dictionary", "any.1"),
        ({"any": {"brand": "x"}}, "filter any = {'brand': 'x'}: must be a list of filters", "any"),
        ({"not": "brand"}, "filter not = 'brand': must be a list of filters", "not"),
        ({"not_": {"brand": "x"}}, "unknown filter 'not_', did you mean 'not'?", "not_"),
        (nested(MAX_DEPTH + 1), f"nest at most {MAX_DEPTH} levels", ".".join(["not"] * (MAX_DEPTH + 1))),
        (nested(100_000), f"nest at most {MAX_DEPTH} levels", ".".join(["not"] * (MAX_DEPTH + 1))),
        ({"any": [{"brand": "x"}] * (MAX_NESTED + 1)}, f"more than {MAX_NESTED} filters within", "any"),
        ({"any": [{"cypher": "RETURN 1"}] * MAX_PATTERNS, "cypher": "RETURN 1"}, "hold 5 `cypher` patterns", "cypher"),
        ({"any": [{"seller": ["x"] * 100}] * 6}, "hold 600 values in all, at most 500", None),
        ({"any": [{"brand": "\ud800"}]}, "any.0.brand.0 = '\\ud800': ", "any.0.brand.0"),
        ({"not": {"max_price": float("nan")}}, "filter not.max_price = nan", "not.max_price"),
        ({"not": {"min_price": 1e13}}, "filter not.min_price = 1", "not.min_price"),
    ],
)
def test_every_refusal_within_a_tree_names_its_place(
    fields: dict[str, object], message: str, place: str | None
) -> None:
    with pytest.raises(BadFilter) as refusal:
        Filters.model_validate(fields)
    assert message in str(refusal.value)
    assert refusal.value.detail.get("field") == place


def test_a_tree_is_bounded_however_it_is_put_together() -> None:
    whole = Filters.model_validate(nested(MAX_DEPTH))
    with pytest.raises(BadFilter, match=f"at most {MAX_DEPTH} levels"):
        Filters.model_validate({"any": [whole]})


def test_a_tree_as_json_and_back() -> None:
    fields = {
        "brand": "x",
        "any": [{"near": "y", "hops": 2}, {"not": {"max_price": 5}}],
        "not": [{"seller": ["a", "b"]}],
    }
    asked = Filters.model_validate(fields)
    assert asked.any[1].not_ == (Filters(max_price=5),)
    assert not asked.empty
    assert Filters.model_validate_json(asked.model_dump_json()) == asked
    assert Filters.model_validate(asked.model_dump(mode="json")) == asked
    assert asked.model_dump(mode="json", exclude_defaults=True)["not"] == [{"seller": ["a", "b"]}]
    assert Filters.model_validate({"any": None, "all": [], "not": []}).empty
