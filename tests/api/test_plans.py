"""Every plan gives what brute force gives: same products, same instances, same scores, same order."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymilvus import MilvusClient

from api import plans
from api.models import VectorPlan
from api.planner import Plan, choose, run
from api.plans import Ask
from kg.errors import BadInput
from kg.filters import JOINS, Filters
from kg.graph import selection as graph_side
from kg.graph.neighbourhood import around, gains, narrowed
from kg.graph.resolving import select
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors import filtering, generations
from kg.vectors.filtering import expression
from tests.api.world import BRANDS, CATEGORIES, COLOURS, DIM, EPOCH, SELLERS, World, build

PLANS: list[VectorPlan | None] = [None, "attribute", "exact", "ids", "overfetch", "resident"]
PRODUCTS = 120

names = st.sampled_from([" > ".join(path) for path in CATEGORIES] + ["Candles", "Scented", "category:home", "Nowhere"])
price = st.sampled_from([0.0, 5.0, 40.0, 90.0])
FIELDS = {
    "brand": st.lists(st.sampled_from([*BRANDS, "AURORA", "Unknown"]), max_size=2),
    "category": st.lists(names, max_size=2),
    "entity": st.lists(st.sampled_from([*COLOURS, "colour:blue", "Soap", "brand:aurora", "nothing"]), max_size=2),
    "near": st.lists(st.sampled_from([*COLOURS, "colour:honey"]), min_size=1, max_size=2),
    "seller": st.lists(st.sampled_from([seller for seller in SELLERS if seller]), max_size=2),
    "min_price": price,
    "max_price": price.map(lambda value: value + 90),
    "updated_since": st.integers(0, 1900).map(lambda hours: EPOCH + timedelta(hours=hours)),
}
NEAR = st.fixed_dictionaries({"hops": st.integers(0, 3), "min_weight": st.sampled_from([0.0, 0.5, 0.75])})


@st.composite
def filters(draw: st.DrawFn, depth: int = 2) -> Filters:
    """Random ones; to this depth with filters within them."""
    chosen = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
    values = {name: draw(FIELDS[name]) for name in chosen} | (draw(NEAR) if "near" in chosen else {})
    for join in draw(st.lists(st.sampled_from(JOINS), max_size=2, unique=True)) if depth else ():
        parts = draw(st.lists(filters(depth - 1), max_size=2))
        values[join] = [part for part in parts if not part.empty]
    return Filters.model_validate(values)


def queries(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def ask(stores: Stores, world: World, vectors: np.ndarray, k: int, **more: frozenset[str]) -> Ask:
    collection = world.generation.collections(stores.vectors.prefix)["image"]
    return Ask(stores.vectors, collection, (vectors,), k, **more)


def chosen(stores: Stores, asked: Filters) -> Selection:
    return select(stores.graph, asked, max_ids=10_000, timeout_s=10)


def planned(stores: Stores, world: World, selection: Selection, name: VectorPlan | None, stale: int = 0) -> Plan:
    return choose(stores, selection, stale, forced=name, generation=world.generation)


# Graph and vectors, each on both builds.
pytestmark = pytest.mark.parametrize(
    ("engine", "stores"),
    [
        ("arcadedb", "lite"),
        pytest.param("neo4j", "lite", marks=pytest.mark.neo4j),
        pytest.param("arcadedb", "server", marks=pytest.mark.milvus_server),
    ],
    indirect=True,
)


@pytest.fixture
def stores(request: pytest.FixtureRequest, stores: Stores) -> Iterator[Stores]:
    """The vectors in Lite, or in a Milvus server where one is named."""
    if request.param == "lite":
        yield stores
        return
    if not (uri := os.environ.get("SKUGRAPH_TEST_MILVUS_URI")):
        pytest.skip("SKUGRAPH_TEST_MILVUS_URI names no Milvus server")
    settings = stores.settings.model_copy(update={"vectors_prefix": f"test_{uuid.uuid4().hex[:8]}"})
    client = MilvusClient(uri)
    placed = Stores(settings, stores.graph, uri)
    yield placed
    client.drop_alias(generations.alias(settings.vectors_prefix))
    for collection in placed.vectors.collections():
        placed.vectors.drop(collection)
    placed.vectors.close()
    client.close()


@pytest.mark.parametrize("small", [False, True], ids=["in one request", "in many small ones"])
def test_every_plan_is_brute_force(stores: Stores, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = build(stores, seed=1, products=PRODUCTS)
    stores.resident.build()
    if small:
        for name, value in {"MAX_HITS": 24, "MAX_ANSWER": 60, "ID_CHUNK": 16, "EXACT_CHUNK": 10}.items():
            monkeypatch.setattr(plans, name, value)

    @settings(max_examples=6 if small else 15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(filters(), st.integers(0, 9), st.integers(1, 3), st.sampled_from([1, 3, 10, PRODUCTS]), st.integers(1, 4))
    def check(asked: Filters, seed: int, n: int, k: int, together: int) -> None:
        selection = chosen(stores, asked)
        admitted = sorted(item.id for item in world.admitted(asked))
        assert graph_side.ids(stores.graph, selection) == admitted
        assert graph_side.count(stores.graph, selection, 7) == min(7, len(admitted))
        assert graph_side.page(stores.graph, selection, 5) == admitted[:5]
        questions = tuple(queries(seed + at, n) for at in range(together))
        expected = [world.best(asked, question, k) for question in questions]
        for name in PLANS:
            plan = planned(stores, world, selection, name)
            whole = replace(ask(stores, world, questions[0], k), questions=questions)
            assert run(stores, plan, selection, whole) == expected, plan.name

    check()


@pytest.mark.parametrize("asked", [Filters(), Filters(brand="Aurora"), Filters(min_price=20), Filters(near="honey")])
@pytest.mark.parametrize("named", [Filters(near="amber", min_weight=0.5), Filters(entity=("category:home", "ivory"))])
def test_narrowed_by_entities_every_plan_is_brute_force(stores: Stores, asked: Filters, named: Filters) -> None:
    world = build(stores, seed=9, products=80)
    stores.resident.build()
    seeds = {"colour:amber": 1.0} if named.near else {"category:home": 1.0, "colour:ivory": 0.7}
    hops = 1 if named.near else 0
    there = around(stores.graph, seeds, hops=hops, min_weight=named.min_weight, most=50, below=True)
    selection = narrowed(chosen(stores, asked), there)
    both = [item for item in world.admitted(asked) if item in world.admitted(named)]
    assert graph_side.ids(stores.graph, selection) == sorted(item.id for item in both)
    expected = World(both, world.generation).best(Filters(), queries(0, 2), 10)
    for name in PLANS:
        plan = planned(stores, world, selection, name)
        assert run(stores, plan, selection, ask(stores, world, queries(0, 2), 10)) == [expected], plan.name


def test_products_by_what_they_gain_are_brute_force(stores: Stores) -> None:
    world = build(stores, seed=10, products=80)
    seeds = {"colour:amber": 1.0, "colour:ivory": 0.5, "brand:aurora": 0.9, "category:home > soap": 1.0}
    there = around(stores.graph, seeds, hops=2, min_weight=0.2, most=50, below=True)
    rows, left = gains(there, products=80, budget=10_000)
    assert left == []
    gained = {row["key"]: row for row in rows}
    for asked in (Filters(), Filters(max_price=50)):
        expected = []
        for item in world.admitted(asked):
            best: dict[str, float] = {}
            for row in (gained[key] for key in item.keys if key in gained):
                best[row["seed"]] = max(row["gain"], best.get(row["seed"], 0))
            if best:
                expected.append((item.id, sum(best.values())))
        expected.sort(key=lambda pair: (-pair[1], pair[0]))
        for limit in (7, 100):
            assert graph_side.linked(stores.graph, chosen(stores, asked), rows, limit) == expected[:limit]


def test_equal_scores_are_cut_by_product_id(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of listings with the very same picture, such as a placeholder, and a cut in their midst."""
    world = build(stores, seed=2, products=10)
    collection = world.generation.collections(stores.vectors.prefix)["image"]
    same = np.ones(DIM, dtype=np.float32)
    ids = [f"same{n:03d}" for n in range(300)]
    stores.graph.write_rows("UNWIND $rows AS row MERGE (:Product {id: row.id})", [{"id": id} for id in ids])
    rows = [{"instance_id": f"{id}#img0", "product_id": id, "vector": same} for id in reversed(ids)]
    stores.vectors.upsert(collection, rows)
    stores.resident.build()
    for limit in (plans.MAX_HITS, 50):  # all in one request; and more than any request holds
        monkeypatch.setattr(plans, "MAX_HITS", limit)
        for name in PLANS:
            plan = planned(stores, world, Selection(), name)
            [found] = run(stores, plan, Selection(), ask(stores, world, same[None], 20))
            assert [item.product_id for item in found] == ids[:20], plan


def test_an_excluded_product_does_not_cost_a_place(stores: Stores) -> None:
    world = build(stores, seed=3, products=40)
    stores.resident.build()
    expected = world.best(Filters(), queries(0, 1), 6)
    without = frozenset({expected[0].product_id})
    for name in PLANS:
        plan = planned(stores, world, Selection(), name)
        [found] = run(stores, plan, Selection(), ask(stores, world, queries(0, 1), 5, exclude=without))
        assert found == expected[1:]


def test_one_product_of_more_instances_than_a_request_holds(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    world = build(stores, seed=4, products=20)
    collection = world.generation.collections(stores.vectors.prefix)["image"]
    monkeypatch.setattr(plans, "MAX_HITS", 10)
    [query] = queries(5, 1)
    stores.graph.write("MERGE (:Product {id: 'many'})")
    rows = [{"instance_id": f"many#img{n}", "product_id": "many", "vector": query + n / 1000} for n in range(60)]
    stores.vectors.upsert(collection, rows)
    stores.resident.build()
    expected = ["many"] + [item.product_id for item in world.best(Filters(), query[None], 100)]
    for name in PLANS:
        plan = planned(stores, world, Selection(), name)
        [found] = run(stores, plan, Selection(), ask(stores, world, query[None], 100))
        assert [item.product_id for item in found] == expected, plan.name


def test_while_changes_are_not_embedded_the_graph_decides(stores: Stores) -> None:
    """A price that changed, a product that is gone: the vectors still tell the old story."""
    world = build(stores, seed=6, products=60)
    stores.resident.build()
    dear = [item for item in world.items if item.price is not None and item.price > 50 and item.vectors]
    changed, gone = dear[0].id, dear[1].id
    stores.graph.write("MATCH (p:Product {id: $id}) SET p.price = 1.0, p.revision = 61", id=changed)
    stores.graph.write("MATCH (p:Product {id: $id}) DETACH DELETE p", id=gone)
    stores.graph.write("MERGE (r:Removed {id: $id}) SET r.revision = 62", id=gone)
    for asked in (Filters(min_price=50), Filters()):
        selection = chosen(stores, asked)
        expected = [item for item in world.best(asked, queries(0, 1), 60) if item.product_id != gone]
        expected = [item for item in expected if asked.empty or item.product_id != changed]
        for name in (None, "exact", "ids", "overfetch", "resident"):
            plan = planned(stores, world, selection, name, stale=2)  # type: ignore[arg-type]
            assert plan.name != "attribute"
            assert run(stores, plan, selection, ask(stores, world, queries(0, 1), 60)) == [expected], plan
        with pytest.raises(BadInput, match="2 changes are not embedded yet"):
            choose(stores, selection, stale=2, forced="attribute")


def test_the_planner_goes_by_size(stores: Stores) -> None:
    build(stores, seed=7, products=60)
    pattern = "MATCH (p:Product) WHERE p.id < $last RETURN p.id"

    def plan(last: str, *, exact: int, ids: int) -> str:
        asked = Filters(cypher=pattern.replace("$last", f"'{last}'"))
        bounds = stores.settings.model_copy(update={"exact_max_ids": exact, "ids_max": ids})
        here = Stores(bounds, stores.graph, stores.vectors_uri)
        chosen_plan = choose(here, select(stores.graph, asked, max_ids=100, timeout_s=10), stale=0)
        return chosen_plan.name

    assert plan("sku0020", exact=20, ids=50) == "exact"
    assert plan("sku0021", exact=20, ids=50) == "ids"
    assert plan("sku0040", exact=20, ids=50) == "overfetch"  # most of the catalogue
    assert plan("sku0060", exact=20, ids=30) == "overfetch"  # more than an id list holds
    assert choose(stores, Selection(), stale=0).name == "attribute"
    assert choose(stores, Selection(), stale=1).name == "overfetch"
    assert choose(stores, chosen(stores, Filters(brand="Unknown")), stale=1).ids == ()


def test_what_milvus_cannot_tell_is_not_left_to_it(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    build(stores, seed=8, products=10)
    selection = chosen(stores, Filters(cypher="MATCH (p:Product) RETURN p.id"))
    with pytest.raises(BadInput, match="Milvus cannot tell"):
        choose(stores, selection, stale=0, forced="attribute")
    many = chosen(stores, Filters(near=("amber",), hops=2))
    assert expression(many)
    monkeypatch.setattr(filtering, "MAX_KEYS", 2)
    assert expression(many) is None
    assert choose(stores, many, stale=0).name == "exact"
