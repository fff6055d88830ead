"""Opening both stores: leases, one supervisor for all, healing after kill -9, stopping."""

from __future__ import annotations

import pytest

from kg.errors import MigrationError
from kg.migrate import migrate
from kg.stores import Stores, open_stores


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
