from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.errors import BadInput
from kg.graph.edges import settle
from kg.scale import MAP, Scale, load, write
from kg.stores import Stores
from kg.vectors import generations
from tests.conftest import wipe_graph
from tests.kg.catalogue.shop import dump, wrong_counts

SCALE = Scale(230, dim=8)


def test_the_same_graph_as_an_ingest_of_the_same_table(stores: Stores, tmp_path: Path) -> None:
    seen: list[int] = []
    write(SCALE, tmp_path, seen.append)
    assert seen == [230]
    report = ingest(stores, tmp_path / "listings.parquet", None, ColumnMap.load(tmp_path / "map.toml"))
    assert (report.written, report.rejected) == (230, 0)
    settle(stores.graph, SCALE.edges())
    ingested = dump(stores.graph, revisions=True)
    wipe_graph(stores.graph)
    few = replace(stores, settings=stores.settings.model_copy(update={"batch_rows": 100}))
    loaded = load(few, SCALE, vectors=False)
    assert (loaded.listings, loaded.generation) == (230, "")
    assert loaded.edges > 30
    assert not wrong_counts(stores.graph)
    assert stores.graph.read("MATCH ()-[r:HAS_ENTITY]->() WHERE r.source = 'caption' RETURN count(r) AS n")[0]["n"]
    assert dump(stores.graph, revisions=True) == ingested


def test_vectors_are_live_and_a_load_goes_on_where_it_stopped(stores: Stores) -> None:
    first = load(stores, SCALE)
    generation = generations.live(stores)
    assert generation is not None
    assert (first.vectors, first.generation) == (230, generation.id)
    assert generations.stale(stores, generation) == 0
    [collection] = generation.collections(stores.vectors.prefix).values()
    assert stores.vectors.count(collection) == 230
    query = SCALE.vectors(0)[17]
    [hits] = stores.vectors.search(collection, query[None], 1)
    assert np.isclose(hits[0].score, 1, atol=1e-5)
    assert hits[0].product_id == SCALE.products(0)[17].id
    before = dump(stores.graph, revisions=True)
    again = load(stores, SCALE)
    assert (again.listings, again.edges, again.vectors) == (0, 0, 0)
    assert dump(stores.graph, revisions=True) == before


def test_half_a_load_is_completed(stores: Stores) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if (what, done) == ("listings", 100):
            raise KeyboardInterrupt

    few = replace(stores, settings=stores.settings.model_copy(update={"batch_rows": 50}))
    with pytest.raises(KeyboardInterrupt):
        load(few, SCALE, stop, vectors=False)
    assert load(few, SCALE, vectors=False).listings == 130
    assert not wrong_counts(stores.graph)


def test_another_catalogue_is_not_mixed_with(stores: Stores, tmp_path: Path) -> None:
    table = tmp_path / "one.csv"
    table.write_text("id,title\nx1,a mug\n")
    ingest(stores, table, None, ColumnMap.parse({"fields": {"id": "id", "title": "title"}}))
    with pytest.raises(BadInput, match="another catalogue"):
        load(stores, SCALE)


def test_the_map_is_the_one_that_is_written(tmp_path: Path) -> None:
    write(Scale(3, dim=2), tmp_path)
    assert ColumnMap.load(tmp_path / "map.toml") == ColumnMap.parse(MAP)
    assert np.load(tmp_path / "vectors-00000.npy").shape == (3, 2)
