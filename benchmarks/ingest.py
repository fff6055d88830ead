"""How fast a table becomes a graph, and whether memory stays flat.

    python -m benchmarks.ingest [--size N] [--quick] [--data TABLE --images ZIP --map NAME] --out FILE

Rows are synthetic, without pictures; `--data` measures a CSV file of one's own, with them. The baseline is the plain
way: the same statements, one row a transaction. Runs on embedded stores in a temporary home, or on the graph that
SKUGRAPH_GRAPH_URI names, which must be empty, and is emptied again.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import tempfile
from pathlib import Path

import psutil

from benchmarks.figures import Figure, write_figures
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import IngestReport, ingest
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


def measure(stores: Stores, table: Path, images: Path | None, column_map: ColumnMap, plain: Path) -> list[Figure]:
    with_settings = stores.settings.model_copy(update={"batch_rows": 1})
    one_by_one = Stores(with_settings, stores.graph, stores.vectors_uri)
    slow = ingest(one_by_one, plain, images, column_map)
    wipe(stores)
    memory: list[float] = []

    def note(report: IngestReport) -> None:
        memory.append(psutil.Process(os.getpid()).memory_info().rss / 1e6)

    first = ingest(stores, table, images, column_map, progress=note)
    again = ingest(stores, table, images, column_map)
    growth = max(memory) - memory[min(len(memory) - 1, max(1, len(memory) // 10))]
    engine = stores.graph.engine
    return [
        Figure(f"{engine}: rows/s, first ingest of {first.read:,}", first.rows_per_s, "rows/s", slow.rows_per_s),
        Figure(f"{engine}: rows/s, nothing changed", again.rows_per_s, "rows/s", first.rows_per_s),
        Figure("memory gained after a tenth of the rows", growth, "MB", None, "under 64 MB", growth < 64),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, or fewer")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--map", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = min(options.size, 5000) if options.quick else options.size
        table = options.data or write_rows(Path(folder) / "rows.csv", size)
        column_map = ColumnMap.load(options.map) if options.map else ColumnMap.parse(MAP)
        plain = Path(folder) / f"plain{table.suffix}"
        with table.open("rb") as source:  # the first rows are enough to know the plain way's pace
            plain.write_bytes(b"".join(source.readline() for _ in range(301)))
        home = Home(Path(folder) / "home")
        try:
            with open_stores(load_settings(home=home.root)) as stores:
                migrate(stores.graph)
                if held := stores.graph.read("MATCH (n) WHERE NOT n:Migration RETURN count(n) AS n")[0]["n"]:
                    parser.error(
                        f"the graph at {stores.graph.address} holds {held} nodes; the benchmark wants an empty one"
                    )
                figures = measure(stores, table, options.images, column_map, plain)
                wipe(stores)
        finally:
            stop_stores(home)
    write_figures(figures, options.out)


if __name__ == "__main__":
    main()
