"""Edges of all sources, with the real text encoder and stored vectors, on both graph engines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from kg.entities import prune_entities
from kg.graph.driver import Tx
from kg.graph.edges import counts
from kg.home import Home
from kg.stores import Stores
from kg.vectors import generations, switching
from workers import related
from workers.jobs import Job, cancel, get_job, pause, resume, submit_relate
from workers.tasks import relate, step
from workers.tasks.relate import relate_step

ENTITIES = [
    "colour:dark blue",
    "colour:navy blue",
    "material:stainless steel",
    "material:steel",
    "scent:vanilla",
    "size:125 ml",
    "size:750 ml",
]
EDGES = """
MATCH (a:Entity)-[s:SIMILAR_TO]->(b:Entity)
RETURN a.key AS a, b.key AS b, s.weight AS weight, s.source AS source, s.generation AS generation
ORDER BY source, a, b
"""
CREATE = "UNWIND $keys AS key CREATE (:Entity {key: key, text: split(key, ':')[1], df: 1})"
NAMES = """
UNWIND $rows AS row
MERGE (p:Product {id: row[0]})
WITH row, p MATCH (e:Entity {key: row[1]})
CREATE (p)-[:HAS_ENTITY {source: 'field', weight: 1.0}]->(e)
"""
REVISION = "MERGE (c:Counter {name: 'revision'}) SET c.value = coalesce(c.value, 0) + 1"
NUMBER = "OPTIONAL MATCH (c:Counter {name: 'edges'}) RETURN c.value AS number"


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    return at_home(stores, tmp_path / "home")


def at_home(stores: Stores, folder: Path, **settings: object) -> Stores:
    home = Home(folder).create()
    changed = stores.settings.model_copy(update={"home": home.root, **settings})
    return Stores(changed, stores.graph, stores.vectors_uri)


def name(stores: Stores, products: dict[str, Iterable[str]]) -> None:
    rows = [[product, key] for product, keys in products.items() for key in keys]
    stores.graph.write(NAMES, rows=rows)
    stores.graph.write(REVISION)


def run(stores: Stores) -> Job:
    job = submit_relate(stores)
    for _ in range(100):
        if get_job(stores, job.id).over:
            break
        step(stores, job.id, relate_step)
    return get_job(stores, job.id)


def edges(stores: Stores, *sources: str) -> list[tuple[str, str, float]]:
    rows = stores.graph.read(EDGES)
    return [(row["a"], row["b"], row["weight"]) for row in rows if not sources or row["source"] in sources]


def number(stores: Stores) -> int | None:
    return stores.graph.read(NUMBER)[0]["number"]


def test_near_texts_are_related_and_old_edges_go(stores: Stores) -> None:
    stores.graph.write(CREATE, keys=ENTITIES)
    old = """
    MATCH (a:Entity {key: 'material:steel'}) MATCH (b:Entity {key: 'scent:vanilla'})
    CREATE (a)-[:SIMILAR_TO {weight: 0.9, source: 'text', generation: 'sold'}]->(b)
    CREATE (a)-[:SIMILAR_TO {weight: 0.9, source: 'hand', generation: 'x'}]->(b)
    """
    stores.graph.write(old)
    job = run(stores)
    assert (job.state, job.error, job.stage) == ("done", "", "")
    found = stores.graph.read(EDGES)
    text = [(edge["a"], edge["b"]) for edge in found if edge["source"] == "text"]
    assert text == [("colour:dark blue", "colour:navy blue"), ("material:stainless steel", "material:steel")]
    assert [edge["generation"] for edge in found if edge["source"] == "hand"] == ["x"], "not ours to remove"
    assert {edge["generation"] for edge in found if edge["source"] == "text"} == {job.generation}
    assert all(0.6 <= edge["weight"] <= 1 for edge in found)
    assert (job.done, job.total) == (2, 2)

    before = number(stores)
    again = run(stores)
    assert (again.generation, again.done) == (job.generation, 2)
    assert stores.graph.read(EDGES) == found
    assert number(stores) == before, "nothing was written"

    stores.graph.write("MATCH (e:Entity {key: 'material:steel'}) SET e.df = 0")
    assert prune_entities(stores.graph) == 1
    assert run(stores).done == 1
    assert len(stores.graph.read(EDGES)) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.5 l", "1,5 l", True),
        ("1.50 l", "1,5 l", True),
        ("2.0 kg", "2 kg", True),
        ("1,000 g", "1000 g", True),
        ("1,234,567.5", "1234567,5", True),
        ("0,500 l", "0.5 l", True),
        ("1,000 g", "1 g", False),
        ("15 l", "1.5 l", False),
        ("v1.2.3", "v1.2.30", False),
        ("10 cm", "1 cm", False),
        ("3 x 5", "5 x 3", True),
    ],
)
def test_numbers_are_compared_by_what_they_are_worth(one: str, other: str, same: bool) -> None:
    assert (related.numbers(one) == related.numbers(other)) == same


def test_entities_that_products_name_together(stores: Stores) -> None:
    stores.graph.write(CREATE, keys=["a:wick", "b:jar", "c:kite", "d:saddle"])
    name(stores, {f"p{n}": ["a:wick", "b:jar"] for n in range(3)})
    name(stores, {"p3": ["b:jar"], "p4": ["c:kite", "d:saddle"]})
    assert run(stores).state == "done"
    assert edges(stores, "cooccurrence") == [("a:wick", "b:jar", pytest.approx(3 / 12**0.5, abs=1e-6))]
    assert counts(stores.graph)["cooccurrence"] == 1

    name(stores, {"p5": ["c:kite", "d:saddle"]})  # twice is no chance any more
    before = number(stores)
    run(stores)
    assert [edge[:2] for edge in edges(stores, "cooccurrence")] == [("a:wick", "b:jar"), ("c:kite", "d:saddle")]
    assert number(stores) == before + 1
    touched = stores.graph.read(
        "MATCH (e:Entity {edges_at: $number}) RETURN e.key AS key ORDER BY key", number=before + 1
    )
    assert [row["key"] for row in touched] == ["c:kite", "d:saddle"]


def test_entities_whose_products_look_alike(stores: Stores) -> None:
    stores = at_home(stores, stores.home.root, vectors_prefix="related")
    stores.graph.write(CREATE, keys=["a:sphere", "b:ball", "c:cube", "d:rare", "e:all"])
    looks = {"a:sphere": [1, 0.1, 0, 0], "b:ball": [1, 0, 0.1, 0], "c:cube": [-1, 0, 0, 0.1]}
    products = {f"{key[2:]}{n}": [key, "e:all"] for key in looks for n in range(3)}
    products["sphere0"].append("d:rare")
    name(stores, products)
    live = generations.register(
        stores, encoder="drawn", fingerprint="drawn1", encoder_path="/drawn", dim=4, kinds=("image",)
    )
    collection = live.collections("related")["image"]
    rows = [
        {"instance_id": f"{product}#img0", "product_id": product, "vector": np.array(looks[keys[0]], np.float32)}
        for product, keys in products.items()
    ]
    rows += [  # balls lie beside the cubes: what regions show is not what the entity looks like
        {"instance_id": f"cube{n}#img0#0,0,4,{high}", "product_id": f"cube{n}", "vector": looks["b:ball"]}
        for n in range(3)
        for high in range(1, 9)
    ]
    stores.vectors.upsert(collection, rows)
    stores.graph.write("MATCH (g:Generation {id: $id}) SET g.state = 'shadow'", id=live.id)
    switching.promote(stores, live.id)
    assert run(stores).state == "done"
    [edge] = edges(stores, "visual")
    assert edge[:2] == ("a:sphere", "b:ball"), "what is too rare, and what all products have, look like nothing"
    assert 0.9 < edge[2] <= 1

    text_alone = at_home(stores, stores.home.root, similarity_sources=("text",))
    run(text_alone)
    assert edges(stores, "visual", "cooccurrence") == []


def test_in_many_small_steps_it_comes_to_the_same(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = at_home(stores, tmp_path / "small", batch_rows=1)
    prepare(stores)
    with monkeypatch.context() as patch:
        patch.setattr(relate, "STEP_S", 0.0)
        patch.setattr(related, "TEXTS", 3)
        job = submit_relate(stores)
        stages, steps = set(), 0
        while not get_job(stores, job.id).over:
            step(stores, job.id, relate_step)
            stages.add(get_job(stores, job.id).stage)
            steps += 1
    assert steps > 5
    assert any(stage.startswith("text: ") and "encoded" in stage for stage in stages)
    small = edges(stores)
    assert len(small) > 3
    scratch(stores, tmp_path / "whole")
    assert edges(stores) == small


def test_killed_anywhere_and_run_again_it_comes_to_the_same(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(stores)
    scratch(stores, tmp_path / "whole")
    whole = edges(stores)
    stores.graph.write("MATCH (:Entity)-[s:SIMILAR_TO]->(:Entity) DELETE s")
    stores = at_home(stores, tmp_path / "killed", batch_rows=1)
    real = type(stores.graph).transaction
    for lives in (0, 1, 2):
        left = lives

        def dying(graph: object, work: object) -> object:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            return real(graph, work)

        with monkeypatch.context() as patch:
            patch.setattr(type(stores.graph), "transaction", dying)
            job = submit_relate(stores)
            with pytest.raises(KeyboardInterrupt):
                step(stores, job.id, relate_step)
    assert run(stores).state == "done"
    assert edges(stores) == whole


def test_only_what_is_near_to_a_change_is_touched(stores: Stores, tmp_path: Path) -> None:
    prepare(stores)
    run(stores)
    before = {tuple(row.values()) for row in stores.graph.read(EDGES)}
    stores.graph.write(CREATE, keys=["colour:deep blue"])
    stores.graph.write("MATCH (e:Entity {key: 'material:steel'}) SET e.df = 0")
    prune_entities(stores.graph)
    job = run(stores)
    after = {tuple(row.values()) for row in stores.graph.read(EDGES)}
    assert {edge for edge in after - before if edge[4] != job.generation} == set()
    assert {edge[0] for edge in after - before} <= {"colour:dark blue", "colour:deep blue"}
    assert all("material:steel" in edge[:2] for edge in before - after)
    found = edges(stores)
    scratch(stores, tmp_path / "whole")
    assert edges(stores) == found


def test_paused_it_stops_and_goes_on(stores: Stores) -> None:
    prepare(stores)
    job = submit_relate(stores)
    pause(stores, job.id)
    step(stores, job.id, relate_step)
    assert edges(stores) == []
    resume(stores, job.id)
    step(stores, job.id, relate_step)
    assert get_job(stores, job.id).state == "done"
    assert edges(stores)
    with pytest.raises(Exception, match="done"):
        cancel(stores, job.id)


@pytest.mark.parametrize("keys", [[], ["a:alone"], ["a:same", "b:same", "c:same"]])
def test_few_entities_and_equal_texts(stores: Stores, keys: list[str]) -> None:
    stores.graph.write(CREATE, keys=keys)
    job = run(stores)
    assert (job.state, job.error) == ("done", "")
    pairs = [(a, b) for a in keys for b in keys if a < b]
    assert edges(stores) == [(a, b, 1.0) for a, b in pairs]


def test_an_entity_that_vanishes_while_its_neighbours_are_computed(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(stores)
    real, gone = related.mutual, "MATCH (e:Entity {key: 'colour:dark blue'}) DETACH DELETE e"

    def vanishing(*arguments: object) -> object:
        stores.graph.write(gone)
        return real(*arguments)

    monkeypatch.setattr(related, "mutual", vanishing)
    job = run(stores)
    assert (job.state, job.error) == ("done", "")
    assert not any("colour:dark blue" in edge[:2] for edge in edges(stores))
    assert job.done == len(edges(stores))


def prepare(stores: Stores) -> None:
    stores.graph.write(CREATE, keys=[*ENTITIES, "category:a", "category:b"])
    cycle = """
    MATCH (a:Entity {key: $a}) MATCH (b:Entity {key: $b})
    CREATE (a)-[:CHILD_OF]->(b) CREATE (b)-[:CHILD_OF]->(a)
    """
    stores.graph.write(cycle, a="category:a", b="category:b")
    name(stores, {f"p{n}": ["colour:navy blue", "material:steel", "category:a"] for n in range(3)})


def scratch(stores: Stores, home: Path) -> None:
    """The same catalogue related with nothing at hand of earlier computations."""

    def forget(tx: Tx) -> None:
        tx.run("MATCH (:Entity)-[s:SIMILAR_TO]->(:Entity) DELETE s")
        tx.run("MATCH (j:Job) DELETE j")

    stores.graph.transaction(forget)
    assert run(at_home(stores, home)).state == "done"
