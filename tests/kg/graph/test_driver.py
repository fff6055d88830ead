"""Transactions, batches, streams and failures of the graph driver, on each engine."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from neo4j.exceptions import ConstraintError

from kg.errors import StoreDown
from kg.graph.driver import Graph, Tx

MERGE = "UNWIND $rows AS row MERGE (p:Product {id: row.id}) SET p.revision = row.revision"
COUNT = "MATCH (p:Product) RETURN count(p) AS n"


def rows(n: int) -> list[dict[str, object]]:
    return [{"id": f"p{i:06d}", "revision": i} for i in range(n)]


def test_engine_names_itself(graph: Graph, request: pytest.FixtureRequest) -> None:
    assert graph.engine == request.node.callspec.params["engine"]
    assert graph.version[0].isdigit()


def test_write_rows_in_batches_and_idempotent(graph: Graph) -> None:
    small = Graph(graph.at, batch_rows=7)
    assert small.write_rows(MERGE, reversed(rows(50))) == 50
    assert small.write_rows(MERGE, iter(rows(50))) == 50
    assert small.read(COUNT) == [{"n": 50}]
    small.close()


def test_transaction_is_all_or_nothing(graph: Graph) -> None:
    def work(tx: Tx) -> None:
        tx.run("CREATE (:Product {id: 'a'})")
        assert tx.run(COUNT) == [{"n": 1}]
        raise KeyError("half way")

    with pytest.raises(KeyError):
        graph.transaction(work)
    assert graph.read(COUNT) == [{"n": 0}]
    assert graph.transaction(lambda tx: tx.run("CREATE (p:Product {id: 'a'}) RETURN p.id AS id")) == [{"id": "a"}]


def test_concurrent_upserts_of_the_same_keys(graph: Graph) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: graph.write_rows(MERGE, rows(100)), range(16)))
    assert graph.read(COUNT) == [{"n": 100}]


def test_counter_gives_each_number_once(graph: Graph) -> None:
    query = "MERGE (c:Counter {name: 'revision'}) SET c.value = coalesce(c.value, 0) + 1 RETURN c.value AS value"
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: graph.write(query)[0]["value"], range(64)))
    assert sorted(values) == list(range(1, 65))


def test_taken_key_is_an_error(graph: Graph) -> None:
    graph.write("CREATE (:Product {id: 'a'})")
    with pytest.raises(ConstraintError):
        graph.write("CREATE (:Product {id: 'a'})")
    assert graph.read(COUNT) == [{"n": 1}]


def test_stream_is_lazy_and_flat(graph: Graph) -> None:
    graph.write("UNWIND range(1, 30000) AS i CREATE (:Product {id: toString(i), url: $text})", text="x" * 500)
    tracemalloc.start()
    seen = sum(1 for _ in graph.stream("MATCH (p:Product) RETURN p.id AS id, p.url AS url"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == 30_000
    assert peak < 6_000_000  # the texts alone are 15 MB
    first = next(graph.stream("MATCH (p:Product) RETURN p.id AS id"))  # an abandoned stream leaves nothing behind
    assert first["id"]
    assert graph.read(COUNT) == [{"n": 30_000}]


def test_big_parameters_and_results(graph: Graph) -> None:
    texts = ["x" * 1_000_000] * 20  # above the 16 MB of a default Bolt message
    assert graph.read("UNWIND $texts AS t RETURN sum(size(t)) AS n", texts=texts) == [{"n": 20_000_000}]
    assert graph.read("RETURN $texts AS texts", texts=texts)[0]["texts"] == texts


def test_nobody_answers(graph: Graph) -> None:
    with pytest.raises(StoreDown, match=r"bolt://127\.0\.0\.1:1 "):
        Graph(replace(graph.at, uri="bolt://127.0.0.1:1"))


def test_wrong_password(graph: Graph) -> None:
    with pytest.raises(StoreDown, match="graph_password"):
        Graph(replace(graph.at, password="wrong"))


def test_address_that_is_none(graph: Graph) -> None:
    with pytest.raises(StoreDown, match="bolt://"):
        Graph(replace(graph.at, uri="nonsense"))


def test_address_hides_the_password(graph: Graph) -> None:
    assert graph.at.password not in repr(graph.at)


def test_a_database_that_does_not_exist_is_named(graph: Graph) -> None:
    with pytest.raises(StoreDown, match=r"nosuch.*graph_database"):
        Graph(replace(graph.at, database="nosuch"))


def test_what_is_removed_while_it_is_read_is_read_again(graph: Graph) -> None:
    """The embedded engine stops at a record that another transaction has just removed."""
    write = """
    UNWIND range(1, 20) AS n
    MERGE (p:Product {id: 'p' + toString(n)}) SET p.revision = n
    MERGE (i:Instance {id: p.id + '#' + $round}) MERGE (i)-[:OF]->(p)
    """
    remove = "MATCH (i:Instance) WHERE NOT i.id ENDS WITH '#' + $round DETACH DELETE i"
    read = "MATCH (p:Product) WHERE p.revision > 0 MATCH (p)<-[:OF]-(i:Instance) RETURN p.id AS id, i.id AS of, i.kind"
    over = threading.Event()

    def change() -> None:
        try:
            for number in range(60):
                graph.write(write, round=str(number))
                graph.write(remove, round=str(number))
        finally:
            over.set()

    def look() -> int:
        reads = 0
        while not over.is_set():
            reads += len(graph.read(read)) >= 20
        return reads

    with ThreadPoolExecutor(3) as threads:
        looking = [threads.submit(look) for _ in range(2)]
        threads.submit(change).result()
        assert all(one.result() > 0 for one in looking)
