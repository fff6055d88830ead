"""Expressions mean on Milvus what they mean in Python: fuzzed rows and filters, compared row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.errors import BadFilter
from kg.vectors.client import VectorStore
from kg.vectors.expressions import NOTHING, and_, array_any, between, eq, isin, literal, not_, or_
from kg.vectors.schema import FIELDS, fit

Row = dict[str, Any]
Filter = tuple[str, Callable[[Row], bool]]  # an expression, and what it means

HARD = [
    "",
    '"',
    "'",
    "\\",
    '\\"',
    "\\n",
    "a\nb",
    "\t\r",
    'O\'Neil "X"',
    "名前",
    "é",
    "e\u0301",
    "🧴",
    "%_",
    "$meta",
    "\x01",
]
TEXT = st.one_of(st.sampled_from(HARD), st.text(max_size=12), st.text("ab\\\"'", max_size=4))
PRICE = st.sampled_from([-1.0, 0.0, 0.1, 1e-7, 19.99, 1e22, 5.0]) | st.floats(0, 1e12)
INT = st.sampled_from([0, 1, -1, 2**63 - 1]) | st.integers(-(10**6), 10**6)
ROW = st.fixed_dictionaries(
    {
        "brand": TEXT,
        "seller": TEXT,
        "categories": st.lists(TEXT, max_size=3),
        "price": PRICE,
        "updated_at": st.integers(0, 2**40),
        "revision": INT,
    }
)


def leaf(draw: st.DrawFn, rows: list[Row]) -> Filter:
    """One comparison, of a value that often is in some row."""
    kind = draw(st.sampled_from(["eq", "isin", "any", "between", "revision"]))
    row = draw(st.sampled_from(rows))
    if kind == "eq":
        text = draw(st.just(row["brand"]) | TEXT)
        return eq("brand", text), lambda r: r["brand"] == text
    if kind == "isin":
        texts = draw(st.lists(st.just(row["seller"]) | TEXT, max_size=3))
        return isin("seller", texts), lambda r: r["seller"] in texts
    if kind == "any":
        wanted = set(draw(st.lists(st.sampled_from(row["categories"] or [""]) | TEXT, max_size=3)))
        return array_any("categories", wanted), lambda r: bool(wanted & set(r["categories"]))
    if kind == "revision":
        number = draw(st.just(row["revision"]) | INT)
        return eq("revision", number), lambda r: r["revision"] == number
    low, high = sorted([draw(st.just(row["price"]) | PRICE), draw(PRICE)])
    return between("price", low, high), lambda r: r["price"] >= 0 and low <= r["price"] <= high


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Row], list[Filter]]:
    rows = draw(st.lists(ROW, min_size=1, max_size=8))
    filters = []
    for _ in range(10):
        expression, means = leaf(draw, rows)
        if draw(st.booleans()):
            expression, means = not_(expression), lambda r, means=means: not means(r)
        if draw(st.booleans()):
            other, also = leaf(draw, rows)
            if draw(st.booleans()):
                expression, means = and_(expression, other), lambda r, a=means, b=also: a(r) and b(r)
            else:
                expression, means = or_(expression, other), lambda r, a=means, b=also: a(r) or b(r)
        filters.append((expression, means))
    return rows, filters


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_filters_select_what_python_selects(vectors: VectorStore, case: tuple[list[Row], list[Filter]]) -> None:
    rows, filters = case
    name = f"{vectors.prefix}_fuzz_text"
    vectors.create(name, 2)
    stored = [{"instance_id": f"i{n}", "product_id": f"p{n}", "vector": [1.0, n], **row} for n, row in enumerate(rows)]
    vectors.delete_products(name, [f"p{n}" for n in range(8)])
    vectors.upsert(name, stored)
    assert vectors.count(name) == len(rows)
    for expression, means in filters:
        [hits] = vectors.search(name, [[1.0, 0.0]], 10, where=expression)  # type: ignore[arg-type]
        assert {hit.instance_id for hit in hits} == {row["instance_id"] for row in stored if means(row)}, expression


def test_text_longer_than_its_field_still_matches_itself_only(vectors: VectorStore) -> None:
    name, long = f"{vectors.prefix}_long_text", "brand:" + "名" * 400
    vectors.create(name, 2)
    rows = [{"instance_id": f"i{n}", "product_id": f"p{n}", "vector": [1, n], "brand": long + tail, "entities": [long]}
            for n, tail in enumerate(("a", "b"))]  # fmt: skip
    vectors.upsert(name, rows)
    assert vectors.count(name, eq("brand", long + "b")) == 1
    assert vectors.count(name, array_any("entities", [long])) == 2
    assert len(fit("brand", long)) == FIELDS["brand"].limit


def test_what_asks_nothing_and_what_nothing_answers(vectors: VectorStore) -> None:
    name = f"{vectors.prefix}_empty_text"
    vectors.create(name, 2)
    vectors.upsert(name, [{"instance_id": "i", "product_id": "p", "vector": [1, 0]}])
    assert and_() == and_("", "") == ""
    for nothing in (NOTHING, isin("brand", []), array_any("entities", []), not_("")):
        assert vectors.count(name, nothing) == 0
    assert vectors.count(name, not_(NOTHING)) == 1
    assert vectors.count(name, between("price", high=10)) == 0, "an unknown price is within no range"
    assert vectors.count(name, between("updated_at", high=10)) == 0


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: eq("colour", "red"), "colour"),
        (lambda: eq("categories", "red"), "categories is of kind texts"),
        (lambda: array_any("brand", ["x"]), "brand is of kind text"),
        (lambda: eq("price", "cheap"), "price = 'cheap'"),
        (lambda: eq("brand", 5), "brand = 5"),
        (lambda: between("price"), "lower or an upper"),
        (lambda: between("price", 5, 1), "from 5 to 1"),
        (lambda: between("price", float("nan")), "finite"),
        (lambda: between("revision", 2**63), "64 bits"),
        (lambda: literal(True), "neither text nor a number"),
        (lambda: literal("\ud800"), "surrogate"),
    ],
)
def test_what_cannot_be_asked_raises(build: Callable[[], str], says: str) -> None:
    with pytest.raises(BadFilter, match=says):
        build()
