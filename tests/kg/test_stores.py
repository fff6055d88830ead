"""Opening both stores: leases, one supervisor for all, healing after kill -9, stopping."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg.errors import MigrationError
from kg.home import STORES_RUN, Home
from kg.migrate import migrate
from kg.settings import load_settings
from kg.stores import Stores, open_stores, prepare_stores, running, stop_stores


def test_both_stores_answer(stores: Stores) -> None:
    stores.graph.write("CREATE (:Product {id: 'a'})")
    assert stores.graph.read("MATCH (p:Product) RETURN p.id AS id") == [{"id": "a"}]
    assert stores.vectors.engine in {"milvus", "milvus_lite"}
    assert list(stores.vectors.collections()) == []


def test_a_server_without_the_schema_is_refused(stores: Stores) -> None:
    if stores.settings.graph_uri is None:
        with open_stores(stores.settings) as again:  # the embedded graph is brought up to date instead
            assert again.graph.engine == "arcadedb"
        return
    stores.graph.write("MATCH (m:Migration) DELETE m")
    try:
        with pytest.raises(MigrationError, match="of the schema") as caught, open_stores(stores.settings):
            pass
        assert "skugraph migrate" in caught.value.hint
        with open_stores(stores.settings, checked=False) as unchecked:
            assert migrate(unchecked.graph)
        with open_stores(stores.settings) as ready:
            assert ready.graph.engine == "neo4j"
    finally:
        migrate(stores.graph)


@pytest.mark.slow
def test_who_opens_them_waits_for_the_ones_that_are_starting(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", graph_heap="512m")
    home = Home(settings.home)
    try:
        thread = prepare_stores(settings)
        with open_stores(settings) as stores:
            thread.join(60)
            assert not thread.is_alive()
            assert set(running(home) or {}) == {"graph", "vectors"}
            stores.graph.ping()
            first = home.read_run(STORES_RUN)
            prepare_stores(settings).join(60)  # they run: nothing is started
            assert home.read_run(STORES_RUN) == first
    finally:
        stop_stores(home)


def test_servers_elsewhere_are_not_started(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", graph_uri="bolt://there:7687", vectors_uri="http://there:19530")
    thread = prepare_stores(settings)
    assert thread.ident is None
    assert not settings.home.exists()
