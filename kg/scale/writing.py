"""A made-up catalogue as files: a table that `skugraph ingest` takes, vectors in shards, edges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kg.errors import BadInput
from kg.records import Product
from kg.scale.catalogue import Scale

__all__ = ["MAP", "write"]

MAP = {
    "fields": {
        "id": "id", "title": "title", "description": "description", "url": "url", "seller": "seller", "price": "price",
        "currency": "currency", "identity": "identity", "updated_at": "updated_at", "brand": "brand",
        "category": "category",
    },
    "attributes": {"colour": "colour", "material": "material", "size": "size"},
}  # fmt: skip


def write(scale: Scale, folder: Path, progress: Callable[[int], None] = lambda listings: None) -> None:
    """`listings.parquet` with its `map.toml`, `vectors-00000.npy` … (N, dim) float32 in the order of the table, and
    `edges.jsonl`. Files of vectors that are there are not made again where `scale.json` says the same.

    Args:
        scale: what to write.
        folder: is made if need be.
        progress: is told how many listings are written, after every shard.

    Raises:
        BadInput: `shares` are asked for: a table has one column an attribute.
    """
    if scale.shares:
        raise BadInput("files have no shares", hint="`kg.scale.load` takes them", field="shares")
    folder.mkdir(parents=True, exist_ok=True)
    same = folder / "scale.json"
    what = json.dumps({"listings": scale.listings, "seed": scale.seed, "dim": scale.dim, "key": scale.key})
    known = same.is_file() and same.read_text() == what
    same.write_text(what)
    toml = "".join(
        f"[{part}]\n" + "".join(f'{name} = "{column}"\n' for name, column in names.items()) + "\n"
        for part, names in MAP.items()
    )
    (folder / "map.toml").write_text(toml)
    edges = scale.edges()
    with (folder / "edges.jsonl").open("w", encoding="utf-8") as file:
        for a, b, weight in zip(*edges.ends, edges.weights, strict=True):
            line = {"a": edges.keys[a], "b": edges.keys[b], "weight": round(float(weight), 6)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    schema = pa.schema([(column, pa.string()) for names in MAP.values() for column in names.values()])
    with pq.ParquetWriter(folder / "listings.parquet", schema) as table:
        for shard in range(scale.shards):
            rows = [_row(product) for product in scale.products(shard)]
            table.write_table(pa.Table.from_pylist(rows, schema))
            vectors = folder / f"vectors-{shard:05}.npy"
            if not (known and vectors.is_file()):
                np.save(vectors, scale.vectors(shard))
            progress(min(scale.listings, (shard + 1) * len(rows)))


def _row(product: Product) -> dict[str, Any]:
    values = {
        name: getattr(product, name)
        for name in ("id", "title", "description", "url", "seller", "currency", "identity", "brand")
    }
    updated = product.updated_at.isoformat() if product.updated_at else ""
    values |= {"price": f"{product.price:.2f}", "updated_at": updated, "category": " > ".join(product.category)}
    return values | dict(product.attributes)
