"""The copy of the live generation through changes: at every step it answers what the vector store would answer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from api.models import VectorPlan
from api.planner import choose, run
from api.plans import Ask
from kg.audit import audit
from kg.errors import BadInput, JobError, TooLarge
from kg.feed import changes
from kg.filters import Filters
from kg.graph.resolving import select
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors import generations, resident, switching
from kg.vectors.resident import Resident
from kg.vectors.resident_view import View
from tests.api.world import (
    BRANDS,
    CATEGORIES,
    COLOURS,
    COUNTER,
    CURSOR,
    DIM,
    INSTANCE,
    LINK,
    WRITE,
    Item,
    World,
    build,
)
from tests.conftest import apart

GONE = "MATCH (p:Product {id: $id}) OPTIONAL MATCH (p)<-[:OF]-(i:Instance) DETACH DELETE p, i"
NOTED = "MERGE (r:Removed {id: $id}) SET r.revision = $revision"
FORGET = "MATCH (r:Removed {id: $id}) DELETE r"
ASKED = [
    Filters(),
    Filters(brand="Aurora"),
    Filters(category="Home"),
    Filters(near="amber", hops=2),
    Filters(min_price=20, seller="Corner Shop"),
    Filters(brand="nobody's"),
]


class Shop:
    """A world that changes, and what plain Python knows of it: the catalogue as it is, the vectors as embedded."""

    def __init__(self, stores: Stores, seed: int, products: int) -> None:
        self.stores, self.rng, self.numbers = stores, random.Random(seed), np.random.default_rng(seed)
        world = build(stores, seed=seed, products=products)
        self.items = {item.id: item for item in world.items}
        self.stored = {item.id: item.vectors for item in world.items}
        self.revision = products
        self.id = world.generation.id

    @property
    def generation(self) -> generations.Generation:
        found = generations.live(self.stores)
        assert found is not None
        return found

    def put(self, id: str) -> None:
        """A product that is new or other than it was."""
        names = [f"{id}#img{i}" for i in range(self.rng.choice([0, 1, 2]))]
        item = Item(
            id,
            self.rng.choice([*BRANDS, None]),
            self.rng.choice([*CATEGORIES, None]),
            frozenset(self.rng.sample(COLOURS, self.rng.choice([0, 1, 2]))),
            self.rng.choice(["Corner Shop", ""]),
            self.rng.choice([None, 10.0, 30.0]),
            None,
            {name: self.numbers.standard_normal(DIM).astype(np.float32) for name in names},
        )
        self.revision += 1
        graph = self.stores.graph
        graph.write(GONE, id=id)
        graph.write(FORGET, id=id)
        row = {"id": id, "title": id, "seller": item.seller, "price": item.price, "updated": None}
        graph.write(WRITE, rows=[{**row, "revision": self.revision}])
        for relation, keys in {
            "MADE_BY": [item.brand_key],
            "IN_CATEGORY": [item.category_key],
            "HAS_ENTITY": [f"colour:{colour}" for colour in item.colours],
        }.items():
            graph.write(LINK[relation], rows=[{"id": id, "key": key} for key in keys if key])
        graph.write(INSTANCE, rows=[{"id": name, "product": id, "kind": "image"} for name in names])
        graph.write(COUNTER, value=self.revision)
        self.items[id] = item

    def remove(self, id: str) -> None:
        self.revision += 1
        self.stores.graph.write(GONE, id=id)
        self.stores.graph.write(NOTED, id=id, revision=self.revision)
        self.stores.graph.write(COUNTER, value=self.revision)
        del self.items[id]

    def embed(self, limit: int) -> None:
        """As a worker does: the rows first, the cursor then."""
        generation, vectors = generations.get(self.stores, self.id), self.stores.vectors
        [collection] = generation.collections(vectors.prefix).values()
        done = changes(self.stores.graph, generation.cursor, limit)
        for change in done:
            new = {} if change.removed else self.items[change.id].vectors
            vectors.upsert(
                collection, [{**change.fields, "instance_id": name, "vector": new[name]} for name in sorted(new)]
            )
            vectors.delete_products(collection, [change.id], keep=new)
            self.stored[change.id] = new
        if done:
            self.stores.graph.write(CURSOR, id=generation.id, cursor=done[-1].revision)

    def check(self, *, there: bool = True) -> None:
        """Every plan that may be taken gives what brute force gives."""
        generation = self.generation
        stale = generations.stale(self.stores, generation)
        now = [replace(item, vectors=self.stored.get(item.id, {})) for item in self.items.values()]
        collection = generation.collections(self.stores.vectors.prefix)["image"]
        asked = self.rng.choice(ASKED)
        question, k = self.numbers.standard_normal((2, DIM)).astype(np.float32), self.rng.choice([1, 5, 1000])
        selection = select(self.stores.graph, asked, max_ids=1000, timeout_s=10)
        expected = World(now, generation).best(asked, question, k)
        names: list[VectorPlan | None] = [None, "exact", "resident"]
        for name in names if there else names[:2]:
            plan = choose(self.stores, selection, stale, forced=name, generation=generation)
            ask = Ask(self.stores.vectors, collection, (question,), k)
            assert run(self.stores, plan, selection, ask) == [expected], (plan.name, asked)


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Iterator[Stores]:
    """With a home of its own: copies of other tests lie elsewhere."""
    there = apart(stores, tmp_path / "home")
    yield there
    there.resident.close()
    there.vectors.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_through_random_changes_it_answers_what_the_store_answers(
    stores: Stores, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stores, seed, 60)
    stores.resident.build()
    shop.check()
    for _ in range(25):
        what = shop.rng.choice(["put", "put", "remove", "embed", "embed all", "build"])
        if what == "put":
            shop.put(shop.rng.choice([*shop.items, f"new{shop.revision}"]))
        elif what == "remove":
            shop.remove(shop.rng.choice(list(shop.items)))
        elif what == "build":
            stores.resident.build()
        else:
            shop.embed(2 if what == "embed" else 1000)
        shop.check()


def test_what_comes_back_after_it_was_removed_is_found_as_it_is(stores: Stores) -> None:
    shop = Shop(stores, 3, 20)
    stores.resident.build()
    name = next(item.id for item in shop.items.values() if item.vectors)
    shop.remove(name)
    shop.check()
    shop.put(name)
    shop.check()
    shop.embed(1000)
    shop.check()


def test_another_generation_is_another_copy(stores: Stores) -> None:
    shop = Shop(stores, 4, 20)
    stores.resident.build()
    first = shop.generation
    other = generations.register(
        stores, encoder="random", fingerprint="ffffffffffff", encoder_path="", dim=DIM, kinds=("image",)
    )
    [collection] = other.collections(stores.vectors.prefix).values()
    shop.id, shop.stored = other.id, {}
    shop.embed(1000)
    for change in changes(stores.graph, 0, 100):
        new = {name: -vector for name, vector in shop.items[change.id].vectors.items()}
        stores.vectors.upsert(
            collection, [{**change.fields, "instance_id": name, "vector": vector} for name, vector in new.items()]
        )
        shop.stored[change.id] = new
    switching.promote(stores, other.id)
    assert isinstance(stores.resident.view(generations.get(stores, first.id), 0), View)
    assert stores.resident.view(shop.generation, 0) == resident.NOT_YET
    shop.check(there=False)
    stores.resident.build()
    shop.check()
    assert len(list(stores.resident.folder.iterdir())) == 1


def test_rows_that_the_audit_deletes_are_gone_here_too(stores: Stores) -> None:
    shop = Shop(stores, 5, 20)
    [collection] = shop.generation.collections(stores.vectors.prefix).values()
    vector = np.ones(DIM, np.float32)
    stores.vectors.upsert(collection, [{"instance_id": "ghost#img0", "product_id": "ghost", "vector": vector}])
    stores.resident.build()
    assert audit(stores, repair=True).repaired["orphan"]  # the ghost, and instances that have no picture
    assert stores.resident.view(shop.generation, 0) == resident.NOT_YET
    left = [fetched.product_ids for fetched in stores.vectors.fetch_all(collection)]
    shop.stored = {id: had for id, had in shop.stored.items() if any(id in ids for ids in left)}
    stores.resident.build()
    shop.check()


def test_too_many_changes_are_the_stores_affair(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stores, 6, 20)
    stores.resident.build()
    monkeypatch.setattr(resident, "UNSETTLED", 1)
    monkeypatch.setattr(resident, "CHANGED", 2)
    shop.put("a")
    shop.check()
    shop.put("b")
    generation = shop.generation
    assert stores.resident.view(generation, 2) == "more than 1 changes are not embedded yet"
    shop.embed(1000)
    shop.check()
    for name in "cd":
        shop.put(name)
        shop.embed(1000)
    assert stores.resident.view(shop.generation, 0) == "more than 2 products changed since the copy was written"
    stores.resident.build()
    shop.check()


def test_the_budget_is_kept_and_said(stores: Stores) -> None:
    shop = Shop(stores, 7, 20)
    small = Stores(stores.settings.model_copy(update={"resident_mb": 0.001}), stores.graph, stores.vectors_uri)
    with pytest.raises(TooLarge, match=r"resident_mb is 0\.001"):
        small.resident.build()
    off = Stores(stores.settings.model_copy(update={"resident_mb": 0}), stores.graph, stores.vectors_uri)
    with pytest.raises(BadInput, match="plan 'resident': resident_mb is 0"):
        choose(off, Selection(), 0, forced="resident", generation=shop.generation)
    with pytest.raises(BadInput, match="not written yet"):
        choose(stores, Selection(), 0, forced="resident", generation=shop.generation)


def test_half_precision_gives_the_same_answers(stores: Stores) -> None:
    half = stores.settings.model_copy(update={"resident_dtype": "float16"})
    there = Stores(half, stores.graph, stores.vectors_uri)
    shop = Shop(there, 8, 60)
    there.resident.build()
    for _ in range(8):
        shop.check()


def test_another_process_maps_the_same_copy(stores: Stores) -> None:
    shop = Shop(stores, 9, 20)
    stores.resident.build()
    other = Resident(stores)
    assert isinstance(other.view(shop.generation, 0), View)


def test_a_thread_writes_it_and_writes_it_anew(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stores, 10, 20)
    monkeypatch.setattr(resident, "LOOK_S", 0.05)
    stores.resident.start()

    def there(cursor: int) -> bool:
        return any(path.name.split("-")[2] == str(cursor) for path in stores.resident.folder.glob("[!.]*"))

    def wait(cursor: int) -> None:
        for _ in range(400):
            if there(cursor):
                return
            stores.resident._stop.wait(0.05)
        raise AssertionError(f"no copy at {cursor}")

    wait(20)
    monkeypatch.setattr(resident, "CHANGED", 2)
    for name in "abc":
        shop.put(name)
    shop.embed(1000)
    stores.resident.view(shop.generation, 0)
    wait(23)
    shop.check()


def test_a_copy_that_lacks_rows_is_not_kept(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    Shop(stores, 11, 20)
    whole = stores.resident._batches
    monkeypatch.setattr(stores.resident, "_batches", lambda name: (batch[1:] for batch in whole(name)))
    with pytest.raises(JobError, match="vectors, and"):
        stores.resident.build()
    assert list(stores.resident.folder.iterdir()) == []


def test_a_torn_copy_is_passed_over(stores: Stores) -> None:
    shop = Shop(stores, 12, 20)
    stores.resident.build()
    [vectors] = stores.resident.folder.glob("*/image/vectors.npy")
    for torn in (b"", vectors.read_bytes()[:200]):
        vectors.write_bytes(torn)
        assert isinstance(Resident(stores).view(shop.generation, 0), str)
    [about] = stores.resident.folder.glob("*/copy.json")
    about.write_text("{}")
    assert isinstance(Resident(stores).view(shop.generation, 0), str)


def test_a_search_that_was_overtaken_throws_nothing_away(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stores, 13, 20)
    stores.resident.build()
    early = shop.generation
    for name in "abcde":
        shop.put(name)
    shop.embed(2)
    before = shop.generation
    shop.embed(1000)
    assert isinstance(stores.resident.view(shop.generation, 0), View)
    read: list[object] = []
    monkeypatch.setattr(stores.vectors, "rows", lambda *asked: read.append(asked))
    for older in (early, before, shop.generation):
        assert isinstance(stores.resident.view(older, 0), View)
    assert read == []
