"""Entity similarity by the real text encoder, on both graph engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg.home import Home
from kg.stores import Stores
from workers.jobs import Job, get_job, submit_relate
from workers.tasks import step
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
RETURN a.key AS a, b.key AS b, s.weight AS weight, s.source AS source, s.generation AS generation ORDER BY a, b
"""


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    home = Home(tmp_path / "home").create()
    found = Stores(stores.settings.model_copy(update={"home": home.root}), stores.graph, stores.vectors_uri)
    for key in ENTITIES:
        found.graph.write("CREATE (:Entity {key: $key, text: $text})", key=key, text=key.partition(":")[2])
    return found


def run(stores: Stores) -> Job:
    job = submit_relate(stores)
    step(stores, job.id, relate_step)
    return get_job(stores, job.id)


def test_near_texts_are_related_and_old_edges_go(stores: Stores) -> None:
    old = """
    MATCH (a:Entity {key: 'material:steel'}) MATCH (b:Entity {key: 'scent:vanilla'})
    CREATE (a)-[:SIMILAR_TO {weight: 0.9, source: 'text', generation: 'sold'}]->(b)
    CREATE (a)-[:SIMILAR_TO {weight: 0.9, source: 'hand', generation: 'x'}]->(b)
    """
    stores.graph.write(old)
    job = run(stores)
    assert (job.state, job.error) == ("done", "")
    edges = stores.graph.read(EDGES)
    text = [(edge["a"], edge["b"]) for edge in edges if edge["source"] == "text"]
    assert text == [("colour:dark blue", "colour:navy blue"), ("material:stainless steel", "material:steel")]
    assert [edge["generation"] for edge in edges if edge["source"] == "hand"] == ["x"], "not ours to remove"
    assert {edge["generation"] for edge in edges if edge["source"] == "text"} == {job.generation}
    assert all(0.6 <= edge["weight"] <= 1 for edge in edges)
    assert (job.done, job.total) == (2, 2)

    again = run(stores)
    assert (again.generation, again.done) == (job.generation, 2)
    assert stores.graph.read(EDGES) == edges

    stores.graph.write("MATCH (e:Entity {key: 'material:steel'}) DETACH DELETE e")
    assert run(stores).done == 1
    assert len(stores.graph.read(EDGES)) == 1
