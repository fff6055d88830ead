"""Opening both stores: leases, one supervisor for all, healing after kill -9, stopping."""

from __future__ import annotations

from kg.stores import Stores


def test_both_stores_answer(stores: Stores) -> None:
    stores.graph.write("CREATE (:Product {id: 'a'})")
    assert stores.graph.read("MATCH (p:Product) RETURN p.id AS id") == [{"id": "a"}]
    assert stores.vectors.engine in {"milvus", "milvus_lite"}
    assert list(stores.vectors.collections()) == []
