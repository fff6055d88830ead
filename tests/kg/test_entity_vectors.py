"""Entity vectors on both graph engines: what is written, found, marked, and what grows old."""

from __future__ import annotations

import numpy as np
import pytest

from kg import entity_vectors
from kg.errors import BadVector
from kg.stores import Stores

LONG = "phrase:" + "very long " * 30  # two keys that are alike in their first 200 characters
KEYS = ["brand:aurora", "colour:blue", "colour:a \"b\" \\ 'c' 日本 🎈", LONG + "a", LONG + "b"]
TYPES = ["brand", "colour", "colour", "phrase", "phrase"]


def entities(stores: Stores, keys: list[str] = KEYS) -> None:
    for key in keys:
        stores.graph.write("CREATE (:Entity {key: $key, text: $key})", key=key)


def write(stores: Stores, fingerprint: str = "f" * 64, *, keys: list[str] = KEYS, at: int = 3) -> np.ndarray:
    vectors = np.eye(len(keys), 8, dtype=np.float32) + 0.1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    types = [key.partition(":")[0] for key in keys]
    entity_vectors.write(
        stores, fingerprint=fingerprint, encoder_path="/models/e", keys=keys, types=types, vectors=vectors, edges_at=at
    )
    return vectors


def test_every_key_comes_back_whole(stores: Stores) -> None:
    assert entity_vectors.live(stores) is None
    assert entity_vectors.nearest(stores, np.eye(2, 8, dtype=np.float32), k=3) == [[], []]
    assert entity_vectors.staleness(stores) is None
    entities(stores)
    vectors = write(stores)
    live = entity_vectors.live(stores)
    assert live is not None
    assert (live.fingerprint, live.encoder_path, live.dim, live.edges_at) == ("f" * 64, "/models/e", 8, 3)
    found = entity_vectors.nearest(stores, vectors, k=2)
    assert [hits[0][0] for hits in found] == KEYS
    assert all(hits[0][1] == pytest.approx(1, abs=1e-5) and len(hits) == 2 for hits in found)
    [only] = entity_vectors.nearest(stores, vectors[:1], k=5, types=["colour", "none"])
    assert sorted(key for key, _ in only) == sorted(KEYS[1:3])


def test_a_later_encoder_takes_over_and_the_earlier_goes(stores: Stores) -> None:
    entities(stores)
    write(stores, "a" * 64)
    write(stores, "b" * 64, keys=KEYS[:2], at=4)
    live = entity_vectors.live(stores)
    assert live is not None
    assert (live.fingerprint, live.edges_at) == ("b" * 64, 4)
    assert stores.vectors.collections() == ["skugraph_entities_bbbbbbbbbb"]
    assert write(stores, "b" * 64, keys=KEYS[:2], at=4).shape == (2, 8)
    assert stores.vectors.count(live.collection) == 2


def test_what_changed_later_is_stale(stores: Stores) -> None:
    entities(stores)
    assert entity_vectors.edges_at(stores) == 0
    stores.graph.write("CREATE (:Counter {name: 'edges', value: 3})")
    stores.graph.write("MATCH (e:Entity {key: 'brand:aurora'}) SET e.edges_at = 3")
    write(stores, at=entity_vectors.edges_at(stores))
    assert entity_vectors.staleness(stores) == entity_vectors.Staleness(5, 0, 0, 0)
    assert not entity_vectors.is_stale(stores, "brand:aurora")
    stores.graph.write("MATCH (e:Entity {key: 'brand:aurora'}) SET e.edges_at = 4")
    stores.graph.write("MATCH (e:Entity {key: 'colour:blue'}) DETACH DELETE e")
    entities(stores, ["colour:new"])
    found = entity_vectors.staleness(stores)
    assert found == entity_vectors.Staleness(entities=5, unknown=1, changed=1, gone=1)
    assert found.stale == 2
    assert entity_vectors.is_stale(stores, "brand:aurora")
    assert entity_vectors.is_stale(stores, "colour:new")
    assert entity_vectors.is_stale(stores, "none:such")
    assert not entity_vectors.is_stale(stores, LONG + "a")


def test_an_entity_that_vanishes_before_the_marks(stores: Stores) -> None:
    entities(stores, KEYS[:4])
    vectors = write(stores)
    assert stores.graph.read("MATCH (e:Entity) RETURN count(e.vector_at) AS n") == [{"n": 4}]
    [hits] = entity_vectors.nearest(stores, vectors[4:], k=1)
    assert hits == [], "its key is nowhere to be read"


def test_shapes_that_do_not_fit_are_refused(stores: Stores) -> None:
    rows = {"fingerprint": "f" * 64, "encoder_path": "", "edges_at": 0}
    with pytest.raises(BadVector, match="2 keys, 1 types"):
        entity_vectors.write(stores, keys=["a", "b"], types=["x"], vectors=np.ones((2, 3), np.float32), **rows)
    with pytest.raises(BadVector, match="zero"):
        entity_vectors.write(stores, keys=["a"], types=["x"], vectors=np.zeros((1, 3), np.float32), **rows)
    assert entity_vectors.live(stores) is None
