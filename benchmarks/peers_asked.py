"""The peers' half of `benchmarks.peers`: runs in a Python that has them, `python peers_asked.py TASK.json`.

Imports nothing of this project, so that they may have an environment of their own. Reads the task, prints a JSON line
an answer: `{"peer", "share", "ms": [of each question], "ids": [[of each answer]]}`; `{"peer", "missing"}` where a
package is not there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 1000
OVERFETCH = 1000
INDEX = "product_embedding"
PREPARE = """
UNWIND $rows AS row
MATCH (p:Product {id: row.id})
SET p.share = row.share
WITH p, row
CALL db.create.setNodeVectorProperty(p, 'embedding', row.vector)
"""
MAKE_INDEX = f"""
CREATE VECTOR INDEX {INDEX} IF NOT EXISTS FOR (p:Product) ON (p.embedding)
OPTIONS {{indexConfig: {{`vector.dimensions`: $dim, `vector.similarity_function`: 'cosine'}}}}
"""
MAKE_RANGE = "CREATE INDEX product_share IF NOT EXISTS FOR (p:Product) ON (p.share)"
EXACT = """
MATCH (e:Entity {key: $key})<-[:HAS_ENTITY]-(p:Product)
WITH p, vector.similarity.cosine(p.embedding, $vector) AS score
ORDER BY score DESC LIMIT $k
RETURN p {.*, embedding: null} AS node, score
"""
TRAVERSAL = """
MATCH (node)-[:HAS_ENTITY]->(:Entity {key: $key})
RETURN node {.*, embedding: null} AS node, score ORDER BY score DESC LIMIT $k
"""

Ask = Callable[[Any, float], list[str]]


def main(task: dict[str, Any]) -> None:
    questions = np.load(task["questions"]).tolist()
    peers = (neo4j_peers if task["kind"] == "neo4j" else milvus_peers)(task)
    for peer, ask in peers.items():
        for share in task["shares"]:
            ask(questions[-1], share)  # plans and connections are made once
            times, answers, until = [], [], time.perf_counter() + task["seconds"]
            for question in questions:
                started = time.perf_counter()
                found = ask(question, share)
                times.append(1000 * (time.perf_counter() - started))
                answers.append(found)
                if time.perf_counter() > until:
                    break
            print(json.dumps({"peer": peer, "share": share, "ms": times, "ids": answers}), flush=True)


def neo4j_peers(task: dict[str, Any]) -> dict[str, Ask]:
    import neo4j
    from neo4j_graphrag.retrievers import VectorCypherRetriever, VectorRetriever

    driver = neo4j.GraphDatabase.driver(
        task["uri"], auth=(task["user"], task["password"]), notifications_min_severity="OFF"
    )
    ids, luck = Path(task["ids"]).read_text().split("\n"), np.load(task["luck"])
    vectors = np.load(task["vectors"], mmap_mode="r")
    for start in range(0, len(ids), BATCH):
        some = slice(start, start + BATCH)
        rows = [
            {"id": id, "share": share, "vector": vector}
            for id, share, vector in zip(ids[some], luck[some].tolist(), vectors[some].tolist(), strict=True)
        ]
        driver.execute_query(PREPARE, rows=rows)
    driver.execute_query(MAKE_INDEX, dim=vectors.shape[1])
    driver.execute_query(MAKE_RANGE)
    driver.execute_query("CALL db.awaitIndexes(600)")
    name, k = f"neo4j-graphrag {version('neo4j-graphrag')}", task["k"]
    by_metadata = VectorRetriever(driver, INDEX, return_properties=["id", "title", "price", "seller", "url"])
    by_traversal = VectorCypherRetriever(
        driver, INDEX, TRAVERSAL, result_formatter=lambda record: _item(record["node"]["id"])
    )

    def metadata(vector: Any, share: float) -> list[str]:
        found = by_metadata.search(query_vector=vector, top_k=k, filters={"share": {"$lt": share}})
        return [_id(item.content) for item in found.items]

    def traversal(vector: Any, share: float) -> list[str]:
        found = by_traversal.search(
            query_vector=vector, top_k=OVERFETCH, query_params={"key": f"share:{share:g}", "k": k}
        )
        return [item.content for item in found.items]

    def exact(vector: Any, share: float) -> list[str]:
        records, _, _ = driver.execute_query(EXACT, key=f"share:{share:g}", vector=vector, k=k)
        return [record["node"]["id"] for record in records]

    return {
        f"{name}, metadata filter": metadata,
        f"{name}, traversal of the {OVERFETCH:,} nearest": traversal,
        "exact Cypher": exact,
    }


def milvus_peers(task: dict[str, Any]) -> dict[str, Ask]:
    from langchain_core.embeddings import Embeddings
    from langchain_milvus import Milvus

    class Given(Embeddings):
        """Vectors are given."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[0.0] * task["dim"] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return [0.0] * task["dim"]

    store = Milvus(
        embedding_function=Given(),
        collection_name=task["collection"],
        connection_args={"uri": task["uri"]},
        index_params={"metric_type": "COSINE", "index_type": task["index"], "params": {}},
        drop_old=True,
    )
    ids, luck = Path(task["ids"]).read_text().split("\n"), np.load(task["luck"])
    vectors = np.load(task["vectors"], mmap_mode="r")
    for start in range(0, len(ids), BATCH):
        some = slice(start, start + BATCH)
        store.add_embeddings(
            texts=ids[some],
            embeddings=vectors[some].tolist(),
            metadatas=[{"share": share} for share in luck[some].tolist()],
            ids=ids[some],
        )
    store.client.flush(task["collection"])
    k = task["k"]

    def metadata(vector: Any, share: float) -> list[str]:
        found = store.similarity_search_with_score_by_vector(vector, k=k, expr=f"share < {share}")
        return [document.page_content for document, _ in found]

    return {f"langchain-milvus {version('langchain-milvus')}, {task['index']}, expression": metadata}


def _item(content: str) -> Any:
    from neo4j_graphrag.types import RetrieverResultItem

    return RetrieverResultItem(content=content)


def _id(content: str) -> str:
    return content.partition("'id': '")[2].partition("'")[0]


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text()))
    except ImportError as error:
        print(json.dumps({"peer": error.name, "missing": str(error)}), flush=True)
