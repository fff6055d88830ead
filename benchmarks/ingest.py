"""How fast a table becomes a graph against the driver alone, and whether memory stays flat.

    python -m benchmarks.ingest [--size N] [--rounds N] [--memory N [--memory-only]] [--neo4j HOME] [--quick] --out FILE
    python -m benchmarks.ingest --data TABLE --images ZIP --map NAME --out FILE

Rows are synthetic, without pictures; `--data` takes a table of one's own, with them. The baseline is what one would
write with the driver alone: the very nodes and relationships that the ingest made, read back and ready in memory, are
merged by key (nodes) and created (relationships) in batches of UNWIND, on the same empty store. It reads no table,
checks nothing, finds no phrases, and cannot be run twice. Memory is the peak of a process of its own that ingests
10,000 rows, and N.

Runs on embedded stores in a temporary home; with `--neo4j`, a folder with Neo4j's jars in `lib/`, on that too.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure, peak_kb, write_figures
from benchmarks.peers import neo4j
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.home import Home
from kg.migrate import migrate
from kg.settings import load_settings
from kg.stores import Stores, open_stores, stop_stores

MAP = {
    "fields": {
        "id": "id", "title": "title", "brand": "brand", "category": "category", "price": "price", "identity": "gtin",
        "seller": "shop",
    },
    "attributes": {"colour": "colour"},
}  # fmt: skip
COLOURS = ("red", "green", "blue", "black", "white", "grey", "teal", "pink")
BATCH = 1000
WARM = 15_000  # rows
SMALL = 10_000  # rows that memory is compared with
FLAT_MB = 64.0
GOAL = 0.9


def write_rows(path: Path, size: int) -> Path:
    """Listings of `size / 3` products of 500 brands in 200 categories."""
    chance = random.Random(size)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "brand", "category", "price", "gtin", "shop", "colour"])
        for number in range(size):
            brand, colour = f"maker {chance.randrange(500)}", chance.choice(COLOURS)
            category = f"all > branch {chance.randrange(20)} > leaf {chance.randrange(10)}"
            price, shop = f"{chance.uniform(1, 99):.2f}", f"shop {chance.randrange(50)}"
            title = f"{brand} {colour} thing {number}"
            writer.writerow([f"b{number}", title, brand, category, price, f"g{number // 3}", shop, colour])
    return path


def wipe(stores: Stores) -> None:
    query = "MATCH (n) WHERE NOT n:Migration WITH n LIMIT 2000 DETACH DELETE n RETURN count(*) AS gone"
    while stores.graph.write(query)[0]["gone"]:
        pass


def statements(stores: Stores) -> list[tuple[str, list[dict[str, Any]]]]:
    """What would make the same graph anew: statements of UNWIND, each with all its rows, nodes first."""
    nodes: dict[str, list[dict[str, Any]]] = {}
    query = "MATCH (n) WHERE NOT (n:Migration OR n:Counter OR n:Phrase) RETURN labels(n) AS labels, properties(n) AS v"
    for row in stores.graph.stream(query):
        key = "key" if "Entity" in row["labels"] else "id"
        labels = ":".join(sorted(row["labels"], reverse=True))
        statement = f"UNWIND $rows AS row MERGE (n:{labels} {{{key}: row.key}}) SET n += row.v"
        nodes.setdefault(statement, []).append({"key": row["v"][key], "v": row["v"]})
    links: dict[str, list[dict[str, Any]]] = {}
    query = """
    MATCH (a)-[r]->(b)
    RETURN labels(a) AS la, coalesce(a.key, a.id) AS a, type(r) AS kind, labels(b) AS lb, coalesce(b.key, b.id) AS b,
           properties(r) AS v
    """
    for row in stores.graph.stream(query):
        ends = ["Entity {key" if "Entity" in labels else f"{labels[0]} {{id" for labels in (row["la"], row["lb"])]
        statement = (
            f"UNWIND $rows AS row MATCH (a:{ends[0]}: row.a}}) MATCH (b:{ends[1]}: row.b}}) "
            f"CREATE (a)-[r:{row['kind']}]->(b) SET r += row.v"
        )
        links.setdefault(statement, []).append({"a": row["a"], "b": row["b"], "v": row["v"]})
    return [*nodes.items(), *links.items()]


def plain(stores: Stores, wanted: list[tuple[str, list[dict[str, Any]]]]) -> float:
    """Seconds that the driver alone takes for them."""
    started = time.perf_counter()
    for statement, rows in wanted:
        source = iter(rows)
        while batch := list(islice(source, BATCH)):
            stores.graph.write(statement, rows=batch)
    return time.perf_counter() - started


def measure(stores: Stores, table: Path, images: Path | None, column_map: ColumnMap, rounds: int) -> list[Figure]:
    """The medians of some rounds, in each of which both ways begin on an empty store."""
    engine, of = stores.graph.engine, f"median of {rounds}"
    firsts, agains, alones = list[float](), list[float](), list[float]()
    for _ in range(rounds):
        first = ingest(stores, table, images, column_map)
        agains.append(ingest(stores, table, images, column_map).rows_per_s)
        wanted = statements(stores)
        wipe(stores)
        firsts.append(first.rows_per_s)
        alones.append(first.read / plain(stores, wanted))
        wipe(stores)
    many = {what: sum(len(rows) for text, rows in wanted if what in text) for what in ("MERGE", "CREATE")}
    what = f"{first.read:,} rows, {many['MERGE']:,} nodes, {many['CREATE']:,} relationships"
    each = [ours / theirs for ours, theirs in zip(firsts, alones, strict=True)]
    ours, alone = median(firsts), median(alones)
    goal = f"{GOAL} × the driver"
    return [
        Figure(f"{engine}: rows/s, {what}, {of}", ours, "rows/s", alone, goal, ours / alone >= GOAL),
        Figure(f"{engine}: that ratio in the slowest round", min(each), ""),
        Figure(f"{engine}: that ratio in the fastest round", max(each), ""),
        Figure(f"{engine}: rows/s, nothing changed, {of}", median(agains), "rows/s", ours),
    ]


def warm(stores: Stores, folder: Path, size: int) -> None:
    """Both ways on fewer rows: what comes first would pay for what the server compiles and plans, which takes a Java
    machine some ten thousand rows."""
    measure(stores, write_rows(folder / f"warm-{stores.graph.engine}.csv", size), None, ColumnMap.parse(MAP), 2)


def memory(size: int) -> float:
    """Peak MB of a process that ingests so many rows into embedded stores."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--peak-of", str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def peak(size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = write_rows(Path(folder) / "rows.csv", size)
        with _embedded(Path(folder) / "home") as stores:
            ingest(stores, table, None, ColumnMap.parse(MAP))
    print(json.dumps(peak_kb() / 1000))


@contextmanager
def _embedded(home: Path) -> Iterator[Stores]:
    try:
        with open_stores(load_settings(home=home)) as stores:
            yield stores
    finally:
        stop_stores(Home(home))


def rates(options: argparse.Namespace, size: int) -> list[Figure]:
    """Rows/s on each engine."""
    figures, rounds = list[Figure](), 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        table = options.data or write_rows(folder / "rows.csv", size)
        column_map = ColumnMap.load(options.map) if options.map else ColumnMap.parse(MAP)
        stores = stack.enter_context(_embedded(folder / "home"))
        warm(stores, folder, min(size, WARM))
        figures += measure(stores, table, options.images, column_map, rounds)
        if options.neo4j:
            server = stack.enter_context(neo4j(options.neo4j, folder / "neo4j"))
            named = {**server, "vectors_uri": stores.vectors_uri}
            named["graph_timeout_s"] = 600  # a busy machine is no reason to give up
            settings = load_settings(home=Home(folder / "second").create().root, **named)
            with open_stores(settings, checked=False) as second:
                migrate(second.graph)
                warm(second, folder, min(size, WARM))
                figures += measure(second, table, options.images, column_map, rounds)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000, help="rows")
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians are taken")
    parser.add_argument(
        "--memory", type=int, default=0, metavar="N", help="rows of the memory figure (default: --size)"
    )
    parser.add_argument("--memory-only", action="store_true", help="without the rates")
    parser.add_argument("--quick", action="store_true", help="2,000 rows")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--map", default="")
    parser.add_argument("--neo4j", type=Path, metavar="HOME", help="folder with Neo4j's jars in lib/")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.peak_of:
        return peak(options.peak_of)
    size = min(options.size, 2000) if options.quick else options.size
    figures = [] if options.memory_only else rates(options, size)
    few, many = (500, size) if options.quick else (SMALL, options.memory or size)
    small, large = memory(few), memory(many)
    name = f"peak memory of {many:,} rows, against {few:,}"
    figures.append(Figure(name, large, "MB", small, f"at most {FLAT_MB:g} MB more", large - small <= FLAT_MB))
    write_figures(figures, options.out)


if __name__ == "__main__":
    main()
