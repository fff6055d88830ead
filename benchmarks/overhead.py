"""What a search over REST costs beside the two stores alone, asked by their own drivers for the same answer.

    python -m benchmarks.overhead [--size N] [--asked N] [--quick] --out FILE

Synthetic listings in embedded stores, with vectors of hashed words of 256 dimensions, a collection for pictures and
one for texts. A question has words, a category with all below it, and a highest price. Over REST it goes to a process
of its own (uvicorn), by one httpx client that keeps its connection. The plain way is one client of each store: a search
of each collection with the same filter as a Milvus expression, the full-text index by Cypher, reciprocal rank fusion in
a few lines of Python, and one Cypher statement for what a result shows; the encoder runs in the client's own process.
Both are asked in turns, so that what else the machine does falls on both, and the answers are compared.

Then several clients ask at once, each its next question when it has its answer: searches/s and p95.

The load generator is one of the things measured: the same clients on a route that does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import neo4j
import numpy as np
from pymilvus import MilvusClient

from benchmarks.cheap import Cheap, write_cheap
from benchmarks.figures import Figure, write_figures
from benchmarks.ingest import COLOURS, MAP, write_rows
from kg import feed
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.settings import Settings, load_settings
from kg.stores import Stores, open_stores, stop_stores
from kg.vectors import generations, switching

__all__ = ["Question", "main", "questions"]

K, DEPTH = 10, 100
ENCODER: dict[str, Any] = {"seed": 5, "dim": 256}
GOAL = 1.25
CLIENTS = (1, 4, 16)

LEXICAL = """
CALL db.index.fulltext.queryNodes('product_text', $words, {limit: $matches}) YIELD node AS p, score
WITH p, score WHERE p.price <= $most AND EXISTS { MATCH (p)-[:IN_CATEGORY]->(c:Category) WHERE c.key IN $categories }
RETURN p.id AS id, score LIMIT $limit
"""
CARDS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(c:Category)
OPTIONAL MATCH (p)-[:SAME_AS*0..2]-(o:Product) WHERE o.price IS NOT NULL
RETURN p.id AS id, p.title AS title, p.seller AS seller, p.price AS price, p.currency AS currency, b.text AS brand,
       c.path AS path, collect({seller: o.seller, price: o.price, id: o.id}) AS offers
"""
DONE = "MATCH (g:Generation {id: $id}) SET g.cursor = $cursor, g.state = 'shadow'"


@dataclass(frozen=True)
class Question:
    text: str
    category: str
    most: float

    @property
    def body(self) -> dict[str, Any]:
        return {"text": self.text, "k": K, "filters": {"category": self.category, "max_price": self.most}}


def questions(number: int, *, seed: int = 3) -> Iterator[Question]:
    """As the listings of `benchmarks.ingest` are worded; no two alike."""
    chance = random.Random(seed)
    for n in range(number):
        words = f"maker {chance.randrange(500)} {chance.choice(COLOURS)} thing {n}"
        yield Question(words, f"all > branch {chance.randrange(20)}", round(chance.uniform(20, 90), 2))


def fill(stores: Stores, size: int, folder: Path) -> None:
    """Listings in the graph, and their vectors as a live generation."""
    table = write_rows(folder / "rows.csv", size)
    ingest(stores, table, None, ColumnMap.parse(MAP))
    encoder, noise = Cheap(**ENCODER), np.random.default_rng(7)
    generation = generations.register(
        stores,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        encoder_path=write_cheap(folder / "encoder", **ENCODER),
        dim=encoder.dim,
        kinds=("image", "text"),
    )
    collections = generation.collections(stores.vectors.prefix)
    cursor = 0
    while changes := feed.changes(stores.graph, cursor, 1000):
        vectors = encoder.encode_texts([change.text for change in changes])
        for kind, name in collections.items():
            rows = vectors + (noise.normal(0, 0.05, vectors.shape) if kind == "image" else 0)
            suffix = "#img0" if kind == "image" else "#txt"
            stores.vectors.upsert(
                name,
                [
                    {**change.fields, "instance_id": change.id + suffix, "vector": row}
                    for change, row in zip(changes, rows.astype(np.float32), strict=True)
                ],
            )
        cursor = changes[-1].revision
    for name in collections.values():
        stores.vectors.flush(name)
    stores.graph.write(DONE, id=generation.id, cursor=cursor)
    switching.promote(stores, generation.id)


class Plain:
    """One client of each store, and the few lines between them."""

    def __init__(self, stores: Stores) -> None:
        at = stores.graph.at
        self.graph = neo4j.GraphDatabase.driver(at.uri, auth=(at.user, at.password), notifications_min_severity="OFF")
        self.database = at.database
        self.vectors = MilvusClient(stores.vectors_uri)
        live = generations.live(stores)
        assert live is not None
        self.collections = list(live.collections(stores.vectors.prefix).values())
        for name in self.collections:
            self.vectors.load_collection(name)
        self.encoder = Cheap(**ENCODER)
        self.below: dict[str, list[str]] = {}

    def read(self, text: str, **values: Any) -> list[neo4j.Record]:
        with self.graph.session(database=self.database, default_access_mode=neo4j.READ_ACCESS) as session:
            return list(session.run(text, values))  # type: ignore[arg-type]

    def search(self, asked: Question) -> list[str]:
        [vector] = self.encoder.encode_texts([asked.text]).tolist()
        root = f"category:{asked.category}"
        categories = [
            row["key"]
            for row in self.read(
                "MATCH (c:Entity {key: $key}) WITH c MATCH (b:Category)-[:CHILD_OF*0..30]->(c) RETURN b.key AS key",
                key=root,
            )
        ]
        where = f"ARRAY_CONTAINS_ANY(categories, {json.dumps([root])}) and price >= 0 and price <= {asked.most}"
        lists = []
        for collection in self.collections:
            [hits] = self.vectors.search(
                collection,
                [vector],
                filter=where,
                limit=DEPTH,
                output_fields=["product_id"],
                search_params={"metric_type": "COSINE", "params": {}},
            )
            lists.append([hit["entity"]["product_id"] for hit in hits])
        words = asked.text.replace("-", " ")
        for matches in (1000, 2**31 - 1):  # who knows that the index can be told how many are wanted tells it
            rows = self.read(LEXICAL, words=words, most=asked.most, categories=categories, limit=DEPTH, matches=matches)
            if len(rows) == DEPTH:
                break
        lists.append([row["id"] for row in sorted(rows, key=lambda row: (-row["score"], row["id"]))])
        scores: dict[str, float] = {}
        for found in lists:
            for rank, id in enumerate(found, 1):
                scores[id] = scores.get(id, 0) + 1 / (60 + rank)
        best = sorted(scores, key=lambda id: (-scores[id], id))[:K]
        cards = {row["id"]: row for row in self.read(CARDS, ids=best)}
        return [id for id in best if id in cards]

    def close(self) -> None:
        self.graph.close()
        self.vectors.close()


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The API of this home in a process of its own; its address."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "api.cli", "up", "--no-worker", "--port", "0", "--home", str(settings.home)]
    variables = {
        **os.environ,
        "PYTHONPATH": str(root),
        "SKUGRAPH_RATE_LIMIT_PER_MINUTE": "0",
        "SKUGRAPH_API_AUTH": "off",
    }
    with subprocess.Popen(command, cwd=root, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("ready "):
                raise RuntimeError(f"the API did not start: {line!r}")
            yield line.split()[1]
        finally:
            process.terminate()
            process.wait(60)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return 1000 * (time.perf_counter() - started), result


async def crowd(url: str, clients: int, paths: Sequence[tuple[str, dict[str, Any] | None]]) -> tuple[float, float]:
    """Requests/s of so many clients at once, and the 95th percentile of their ms: a POST where there is a body."""
    waiting, taken = iter(paths), list[float]()

    async def client(link: httpx.AsyncClient) -> None:
        for path, body in waiting:  # shared: whoever is free takes the next
            started = time.perf_counter()
            reply = await (link.post(path, json=body) if body else link.get(path))
            reply.raise_for_status()
            taken.append(1000 * (time.perf_counter() - started))

    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as link:
        started = time.perf_counter()
        await asyncio.gather(*(client(link) for _ in range(clients)))
        return len(taken) / (time.perf_counter() - started), float(np.percentile(taken, 95))


def crowds(url: str, asked: int) -> list[Figure]:
    """More clients at once."""
    figures: list[Figure] = []
    one = 0.0
    for number, clients in enumerate(CLIENTS):
        bodies = [question.body for question in questions(asked, seed=5 + number)]  # no answer is known yet
        rate, p95 = asyncio.run(crowd(url, clients, [("/v1/search", body) for body in bodies]))
        most, _ = asyncio.run(crowd(url, clients, [("/healthz", None)] * asked))
        one = one or rate
        figures += [
            Figure(f"{clients} clients at once", rate, "searches/s", one),
            Figure(f"{clients} clients at once, p95", p95, "ms"),
            Figure(
                f"load generator: {clients} clients on a route that does nothing", most, "requests/s", rate,
                "above 4 times", most > 4 * rate,
            ),
        ]  # fmt: skip
    return figures


def measure(stores: Stores, url: str, asked: int) -> list[Figure]:
    plain = Plain(stores)
    with httpx.Client(base_url=url, timeout=60) as client:

        def rest(question: Question) -> dict[str, Any]:
            reply: dict[str, Any] = client.post("/v1/search", json=question.body).raise_for_status().json()
            return reply

        every = list(questions(asked + 20))
        for question in every[asked:]:  # both warm
            rest(question), plain.search(question)
        there, alone, nothing, same = [], [], [], 0
        steps: dict[str, list[float]] = {}
        plans: set[str] = set()
        for question in every[:asked]:
            ms, reply = timed(lambda question=question: rest(question))
            there.append(ms)
            ms, ids = timed(lambda question=question: plain.search(question))
            alone.append(ms)
            nothing.append(timed(lambda: client.get("/healthz"))[0])
            same += [hit["product"]["id"] for hit in reply["hits"]] == ids
            plans.add(reply["plan"])
            for step, spent in reply["timings_ms"].items():
                steps.setdefault(step, []).append(spent)
        again = [timed(lambda question=question: rest(question))[0] for question in every[:asked]]
        bodies = [question.body for question in questions(asked, seed=4)]
        whole = 0.0
        for start in range(0, asked, 32):
            body = {"searches": bodies[start : start + 32]}
            whole += timed(lambda body=body: client.post("/v1/search:batch", json=body).raise_for_status())[0]
    plain.close()
    p50 = {name: float(np.median(values)) for name, values in steps.items()}
    middle, base, floor = (float(np.median(values)) for values in (there, alone, nothing))
    figures = [
        Figure(
            "REST hybrid search, p50", middle, "ms", base, f"at most {GOAL} of the plain way", middle <= GOAL * base
        ),
        Figure("REST hybrid search, p95", float(np.percentile(there, 95)), "ms", float(np.percentile(alone, 95))),
        Figure("the same answer as the plain way", same / asked, "share"),
        Figure("the same question again, p50", float(np.median(again)), "ms", middle),
        Figure("a search of a batch of 32, mean", whole / asked, "ms", float(np.mean(there))),
        Figure(
            "load generator: a route that does nothing, p50", floor, "ms", middle, "under a quarter", 4 * floor < middle
        ),
    ]
    figures += [Figure(f"step {name}, p50", value, "ms", middle) for name, value in p50.items()]
    return [*figures, Figure("outside of the search: HTTP, JSON, checks, p50", middle - p50["total"], "ms", middle)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--size", type=int, default=20_000, help="listings")
    parser.add_argument("--asked", type=int, default=200, help="questions")
    parser.add_argument("--quick", action="store_true", help="2,000 listings, 30 questions")
    parser.add_argument("--home", type=Path, help="keep the home here, and take it again if it is filled")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    options = parser.parse_args(argv)
    size, asked = (2000, 30) if options.quick else (options.size, options.asked)
    with ExitStack() as stack:
        folder = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = load_settings(home=folder, log_level="ERROR")
        stack.callback(lambda: stop_stores(stores.home))
        with open_stores(settings) as stores:
            if generations.live(stores) is None:
                fill(stores, size, folder)
            with served(settings) as url:
                figures = measure(stores, url, asked) + crowds(url, asked)
    write_figures(figures, options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
