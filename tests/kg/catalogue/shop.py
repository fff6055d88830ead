"""A small shop for the ingest tests, and the graph as plain data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from PIL import Image

from kg.catalogue.columns import ColumnMap
from kg.graph.driver import Graph

MAP = ColumnMap.parse(
    {
        "fields": {
            "id": "id",
            "title": "title",
            "price": "price",
            "identity": "gtin",
            "brand": "brand",
            "category": "category",
            "pictures": "image",
            "boxes": "box",
        },
        "attributes": {"colour": "colour"},
    }
)
COLUMNS = ("id", "title", "price", "gtin", "brand", "category", "image", "box", "colour")
COLOURS = ("red", "green", "blue", "orange")


def row(number: int, **cells: str) -> dict[str, str]:
    """The listing `p<number>`; listings come in pairs of the same product."""
    colour = COLOURS[number % 4]
    usual = {
        "id": f"p{number}",
        "title": f"{colour} mug {number}",
        "price": f"{number + 1}.50",
        "gtin": f"g{number // 2}",
        "brand": "Umbria" if number % 3 else "Kestrel",
        "category": f"Home > Kitchen > {'Mugs' if number % 2 else 'Cups'}",
        "image": f"p{number}.png",
        "box": "",
        "colour": colour,
    }
    return usual | cells


def write_table(folder: Path, rows: list[dict[str, str]], *, name: str = "table.csv") -> Path:
    """The table, and for every row a picture of its own unless it is there."""
    for number, cells in enumerate(rows):
        if cells["image"] and not (folder / cells["image"]).exists():
            picture(folder / cells["image"], 1 + number)
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def picture(path: Path, shade: int) -> Path:
    Image.new("RGB", (30, 20), (shade % 256, shade // 256, 0)).save(path)
    return path


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def dump(graph: Graph, *, revisions: bool = False) -> list[str]:
    """Every node and relationship but counters and migrations, without elementIds, in order.

    Args:
        graph: to be read.
        revisions: also the numbers of the changes, and the products that are gone.
    """

    def plain(values: dict[str, Any]) -> str:
        kept = {name: value for name, value in values.items() if revisions or name != "revision"}
        return json.dumps(kept, sort_keys=True, default=str)

    nodes = graph.read(
        "MATCH (n) WHERE NOT n:Counter AND NOT n:Migration RETURN labels(n) AS labels, properties(n) AS v"
    )
    edges = graph.read(
        """
        MATCH (a)-[r]->(b)
        RETURN coalesce(a.id, a.key) AS a, type(r) AS kind, coalesce(b.id, b.key) AS b, properties(r) AS v
        """
    )
    kept = [node for node in nodes if revisions or node["labels"] != ["Removed"]]
    lines = [f"{sorted(node['labels'])} {plain(node['v'])}" for node in kept]
    return sorted(lines + [f"{edge['a']} {edge['kind']} {edge['b']} {plain(edge['v'])}" for edge in edges])


def wrong_counts(graph: Graph) -> list[dict[str, Any]]:
    """Entities whose df is not the number of products that name them."""
    return graph.read(
        """
        MATCH (e:Entity) OPTIONAL MATCH (p:Product)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e)
        WITH e, count(DISTINCT p) AS n WHERE n <> e.df RETURN e.key AS key, e.df AS df, n
        """
    )
