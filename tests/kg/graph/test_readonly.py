"""Users' Cypher: what it may, what is refused (each guard by itself too), and its limits, on each engine."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import neo4j
import pytest
from neo4j.exceptions import ClientError

from kg.errors import BadQuery, StoreDown
from kg.graph.driver import Graph
from kg.graph.readonly import ask, check

WRITES = {
    "create": "CREATE (:Product {id: 'x'})",
    "lower case": "match (p:Product) set p.title = 'x' return p",
    "merge": "MERGE (p:Product {id: 'x'}) RETURN p",
    "delete": "MATCH (p:Product) DETACH DELETE p",
    "remove": "MATCH (p:Product) REMOVE p.title RETURN p",
    "subquery": "MATCH (p:Product) CALL { WITH p SET p.title = 'x' RETURN 1 AS one } RETURN one",
    "scoped subquery": "MATCH (p:Product) CALL (p) { SET p.title = 'x' RETURN 1 AS one } RETURN one",
    "unit subquery": "MATCH (p:Product) CALL { WITH p DELETE p } RETURN count(*) AS n",
    "batched": "MATCH (p:Product) CALL { WITH p DELETE p } IN TRANSACTIONS RETURN count(*) AS n",
    "loop": "MATCH (p:Product) FOREACH (x IN [1] | SET p.title = 'x') RETURN p",
    "comment": "MATCH (p:Product) /* only reading */ DE/**/LETE p // RETURN p\nDELETE p",
    "old line end": "MATCH (p:Product) // RETURN p\rDELETE p",
    "second statement": "MATCH (p:Product) RETURN p; MATCH (p) DELETE p",
    "after union": "RETURN 1 AS one UNION CREATE (p:Product {id: 'x'}) RETURN 1 AS one",
    "schema": "CREATE INDEX stray FOR (p:Product) ON (p.stray)",
    "drop": "DROP CONSTRAINT product_id",
    "escape": "MATCH (p:Product) SE\\u0054 p.title = 'x' RETURN p",
    "escape in string": "WITH '\\u0027 AS x MATCH (p:Product) DELETE p //' AS y RETURN 1",
    "explain": "EXPLAIN MATCH (p) DELETE p",
    "version": "CYPHER 5 MATCH (p) DELETE p",
    "quoted procedure": "CALL `apoc`.`cypher`.`doIt`('CREATE (:X)', {}) YIELD value RETURN value",
    "procedure": "CALL apoc.cypher.doIt('CREATE (:X)', {}) YIELD value RETURN value",
    "label procedure": "CALL db.createLabel('Stray')",
    "index procedure": "CALL db.index.fulltext.drop('product_text')",
    "server procedure": "CALL dbms.killQuery('1')",
    "user": "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'b'",
    "file": "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
    "network": "MATCH (p) LOAD CSV FROM 'http://169.254.169.254/' AS line RETURN line",
    "function": "RETURN apoc.cypher.runFirstColumnSingle('CREATE (:X)', {}) AS x",
    "spaced function": "RETURN apoc . load . json ('file:///etc/passwd') AS x",
    "terminate": "TERMINATE TRANSACTION 'neo4j-transaction-1'",
    "nothing": "  // nothing",
    "open string": "MATCH (p) RETURN 'p",
}
READS = [
    "MATCH (p:Product {id: 'a'}) RETURN p.title AS title",
    "match (p:Product) where p.set = 1 or p.`create` = 2 or p.title = 'DELETE' return p",
    "MATCH (p:Product) WHERE p:Set OR p.id = $create RETURN p;",
    "RETURN 'it''s' AS x, \"MERGE\" AS y, 'a \\' SET b' AS z // CREATE",
    "CALL db.labels() YIELD label RETURN label",
    "MATCH (p:Product) CALL { WITH p RETURN p.title AS t } RETURN t",
    "RETURN date.truncate('month', date('2024-05-06')) AS d, 1.5 AS f, [1..2] AS g",
    "CALL db.index.fulltext.queryNodes('product_text', $q) YIELD node, score RETURN node.id AS id",
    "OPTIONAL MATCH (start)-[:X*1..3]->(end) WHERE EXISTS { (start)-[:Y]->() } RETURN start",
]


@pytest.fixture
def shop(graph: Graph) -> Graph:
    rows = [
        {"id": "a", "title": "red shoe", "at": "2024-05-06T07:08:09+02:00"},
        {"id": "b", "title": "bag", "at": None},
    ]
    graph.write(
        "UNWIND $rows AS row CREATE (p:Product {id: row.id, title: row.title, updated_at: datetime(row.at)})", rows=rows
    )
    return graph


def everything(graph: Graph) -> list[dict[str, object]]:
    return graph.read("MATCH (n) RETURN labels(n) AS labels, properties(n) AS properties ORDER BY n.id")


@pytest.mark.parametrize("cypher", WRITES.values(), ids=WRITES)
def test_writes_are_refused(shop: Graph, cypher: str) -> None:
    before = everything(shop)
    with pytest.raises(BadQuery):
        ask(shop, cypher)
    assert everything(shop) == before


@pytest.mark.parametrize("cypher", READS)
def test_reads_pass_the_words(cypher: str) -> None:
    check(cypher)


@pytest.mark.parametrize(
    "kind", ["create", "lower case", "merge", "delete", "subquery", "unit subquery", "loop", "schema"]
)
def test_server_refuses_by_itself(shop: Graph, kind: str) -> None:
    """The words may be outwitted one day; the server must still say no."""
    before = everything(shop)
    session = shop.reader.session(database=shop.at.database, default_access_mode=neo4j.READ_ACCESS)
    with session, pytest.raises(ClientError):
        session.run(WRITES[kind]).consume()  # type: ignore[arg-type]
    assert everything(shop) == before


def test_answer_has_columns_rows_and_plain_values(shop: Graph) -> None:
    shop.write("MATCH (a:Product {id: 'a'}), (b:Product {id: 'b'}) CREATE (a)-[:SAME_AS {score: 0.5}]->(b)")
    answer = ask(
        shop,
        "MATCH path = (a:Product)-[r:SAME_AS]->(b) WHERE a.id = $id "
        "RETURN a.id AS id, r, b, path, a.updated_at AS at, date('2024-01-02') AS day, {x: [1, null]} AS map",
        {"id": "a"},
    )
    assert answer.columns == ["id", "r", "b", "path", "at", "day", "map"]
    row = dict(zip(answer.columns, answer.rows[0], strict=True))
    bag = {"labels": ["Product"], "properties": {"id": "b", "title": "bag"}}
    assert row["r"] == {"type": "SAME_AS", "properties": {"score": 0.5}}
    assert row["b"] == bag
    assert row["path"]["nodes"][1] == bag
    assert row["path"]["relationships"] == [row["r"]]
    assert str(row["at"]).startswith("2024-05-06T07:08:09")
    assert (row["day"], row["map"]) == ("2024-01-02", {"x": [1, None]})
    assert json.loads(json.dumps(answer.rows)) == answer.rows


def test_full_text_index_answers_under_the_same_name(shop: Graph) -> None:
    shop.write("CREATE (:Entity {key: 'colour:red', text: 'red', type: 'colour'})")
    query = (
        "CALL db.index.fulltext.queryNodes($index, $q) YIELD node, score RETURN node.id AS id, node.key AS key, score"
    )
    assert [row[:2] for row in ask(shop, query, {"index": "product_text", "q": "shoe"}).rows] == [["a", None]]
    assert [row[:2] for row in ask(shop, query, {"index": "entity_text", "q": "red"}).rows] == [[None, "colour:red"]]


def test_rows_are_capped(shop: Graph) -> None:
    answer = ask(shop, "UNWIND range(1, 100000) AS i RETURN i", max_rows=10)
    assert (answer.rows, answer.truncated) == ([[i] for i in range(1, 11)], True)
    answer = ask(shop, "UNWIND range(1, 10) AS i RETURN i", max_rows=10)
    assert (len(answer.rows), answer.truncated) == (10, False)
    assert ask(shop, "MATCH (n:Nothing) RETURN n.id AS id").rows == []


@pytest.mark.parametrize(
    "cypher",
    [
        "UNWIND range(1, 1000000) AS x UNWIND range(1, 1000000) AS y WITH x, y WHERE x * y < 0 RETURN count(*) AS n",
        "MATCH (a:Product) UNWIND range(1, 1000000) AS x UNWIND range(1, 1000000) AS y RETURN sum(x * y) AS n",
    ],
)
def test_time_is_capped_and_the_server_stops(shop: Graph, cypher: str) -> None:
    start = time.monotonic()
    with pytest.raises(BadQuery, match="longer than 1 s"):
        ask(shop, cypher, timeout_s=1)
    assert time.monotonic() - start < 6  # not a benchmark: the query itself takes hours
    assert ask(shop, "RETURN 1 AS one;").rows == [[1]]


@pytest.mark.parametrize("cypher", ["MATCH (p:Product RETURN p", "RETURN $missing AS x", "RETURN nonsense(1) AS x"])
def test_faulty_queries_say_so(shop: Graph, cypher: str) -> None:
    with pytest.raises(BadQuery, match="the query failed"):
        ask(shop, cypher)


def test_values_that_do_not_fit(shop: Graph) -> None:
    with pytest.raises(BadQuery):
        ask(shop, "RETURN $n AS n", {"n": 2**70})
    with pytest.raises(BadQuery):
        ask(shop, "RETURN $n AS n", {"n": Path("x")})


def test_store_that_is_down(shop: Graph) -> None:
    gone = Graph(shop.at)
    gone.at = replace(shop.at, uri="bolt://127.0.0.1:1")
    with pytest.raises(StoreDown, match=r"127\.0\.0\.1:1 "):
        ask(gone, "RETURN 1 AS one", timeout_s=5)
    gone.close()
