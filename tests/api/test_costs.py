"""What plans cost: the model, its file, and that planner and explanation go by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from api.costs import Costs, Sizes, costs_of, estimates, keep, shipped
from api.fitting import fit
from api.planner import choose
from api.search import Searcher
from kg.errors import NotFound
from kg.filters import Filters
from kg.graph.cypher.feed import REVISION
from kg.graph.resolving import select
from kg.graph.selection import Selection
from kg.stores import Stores
from tests.api.world import COUNTER, build
from tests.conftest import apart

SIZES = Sizes(rows=100_000, dim=256, whole=100_000, inside=1000)


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Iterator[Stores]:
    there = apart(stores, tmp_path / "home")
    yield there
    there.vectors.close()


@pytest.mark.parametrize("costs", [shipped("milvus_lite"), shipped("milvus")])
def test_more_inside_or_more_rows_never_cost_less(costs: Costs) -> None:
    for name in ("exact", "ids"):
        told = [estimates(costs, replace(SIZES, inside=n))[name] for n in (10, 1000, 20_000)]  # type: ignore[index]
        assert told == sorted(told)
    for name, ms in estimates(costs, SIZES).items():
        assert ms <= estimates(costs, replace(SIZES, rows=1_000_000, whole=1_000_000, inside=10_000))[name]


def test_overfetch_is_dear_where_little_is_inside() -> None:
    costs = shipped("milvus_lite")
    narrow, wide = (estimates(costs, replace(SIZES, inside=n))["overfetch"] for n in (100, 90_000))
    assert narrow > 3 * wide


def test_nothing_inside_costs_something() -> None:
    assert all(ms > 0 for ms in estimates(Costs(), replace(SIZES, inside=0, rows=0, whole=0)).values())


def test_fitted_costs_are_found_again_by_stores_of_that_kind_only(stores: Stores) -> None:
    assert costs_of(stores) == shipped(stores.vectors.engine)
    mine = replace(Costs(), graph_ms=123.0)
    path = keep(stores, mine, {"rows": 1})
    assert costs_of(stores) == mine
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "vectors": "another"}))
    assert costs_of(stores) == shipped(stores.vectors.engine)
    path.write_text(json.dumps({**document, "costs": {**asdict(mine), "of_an_older_version": 1}}))
    assert costs_of(stores) == shipped(stores.vectors.engine)


def test_probes_fill_the_coefficients(stores: Stores) -> None:
    with pytest.raises(NotFound, match="no generation is live"):
        fit(stores)
    build(stores, seed=1, products=60)
    seen: list[str] = []
    found = fit(stores, lambda what, done, total: seen.append(what))
    assert seen == ["graph", "vectors", "arrays"]
    assert costs_of(stores) == found.costs
    assert all(value >= 0 for value in asdict(found.costs).values())
    assert "graph_ms" not in found.kept
    assert "request_ms" not in found.kept
    assert "fetch_row_us" in found.kept  # so few rows do not tell


def test_the_planner_takes_what_costs_least(stores: Stores) -> None:
    world = build(stores, seed=2, products=60)
    selection = select(stores.graph, Filters(brand="Aurora"), max_ids=1000, timeout_s=10)
    stores.resident.build()
    for dear, taken in (
        ({"resident_ms": 1e6, "graph_ms": 1e6}, "attribute"),
        ({"resident_ms": 1e6, "search_row_us": 1e6}, "exact"),
        ({"request_ms": 1e6}, "resident"),
    ):
        keep(stores, replace(Costs(), **dear), {})
        assert choose(stores, selection, 0, generation=world.generation).name == taken
    keep(stores, replace(Costs(), resident_ms=1e6, request_ms=0, graph_id_us=1e6, search_row_us=0, fetch_row_us=0), {})
    assert choose(stores, selection, 1, generation=world.generation).name == "overfetch"


def test_an_explanation_lists_every_plan(stores: Stores) -> None:
    world = build(stores, seed=3, products=60)
    plan = choose(stores, Selection(), 3, generation=world.generation)
    searcher = Searcher(stores, lambda path: None)  # type: ignore[arg-type, return-value]
    spent = {"select": 5.0, "plan": 1.0, "like-image": 2.5}
    report = searcher.explanation(plan, Selection(), ["like-image", "lexical"], world.generation, k=10, spent=spent)
    told = {one.plan: one for one in report.alternatives}
    assert told.keys() == {"attribute", "exact", "ids", "overfetch", "resident"}
    assert told["attribute"].refused == "3 changes are not embedded yet"
    assert told["resident"].refused == "the copy of this generation is not written yet"
    assert told["ids"].refused == "half of the catalogue or more"
    assert told["overfetch"].refused == told["exact"].refused == ""
    assert [one.estimated_ms for one in report.alternatives] == sorted(one.estimated_ms for one in told.values())
    assert report.actual_ms == 3.5
    assert report.candidates == 60


def test_counts_are_kept_until_something_changes(stores: Stores) -> None:
    build(stores, seed=4, products=30)
    selection = select(stores.graph, Filters(brand="Aurora"), max_ids=1000, timeout_s=10)
    size = stores.statistics.count(selection, 1000)
    assert stores.statistics.products() == 30
    assert size > 3
    assert stores.statistics.count(selection, 2) == 2
    [row] = stores.graph.read(REVISION)
    gone = "MATCH (p:Product)-[:MADE_BY]->({key: 'brand:aurora'}) WITH p LIMIT 1 DETACH DELETE p"
    stores.graph.write(gone)
    assert stores.statistics.count(selection, 1000) == size  # nothing was said of a change
    stores.graph.write(COUNTER, value=row["revision"] + 1)
    assert stores.statistics.count(selection, 1000) == size - 1
    assert stores.statistics.count(selection, 2) == 2
    assert stores.statistics.count(selection, 1000) == size - 1  # the smaller limit was not taken for the count
    assert stores.statistics.products() == 29
