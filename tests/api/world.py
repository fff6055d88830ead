"""A random catalogue in both stores, and what it says of a filter and of a query in plain Python."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from api.fusion import Ranked, ordered
from kg.feed import changes
from kg.filters import Filters
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.generations import Generation

DIM = 8
BRANDS = ["Aurora", "Nordlys", 'O\'Neil "X"', "名前"]
CATEGORIES = [("Home",), ("Home", "Candles"), ("Home", "Candles", "Scented"), ("Home", "Soap"), ("Toys",)]
COLOURS = ["amber", "honey", "beeswax", "ivory", "blue"]
SIMILAR = [("amber", "honey", 0.82), ("honey", "beeswax", 0.7), ("beeswax", "ivory", 0.4), ("amber", "blue", 0.3)]
SELLERS = ["Corner Shop", "Licht & Co", ""]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

WRITE = """
UNWIND $rows AS row
MERGE (p:Product {id: row.id})
SET p.title = row.title, p.description = '', p.seller = row.seller, p.price = row.price, p.currency = 'EUR',
    p.content_hash = row.id, p.revision = row.revision,
    p.updated_at = CASE WHEN row.updated IS NULL THEN NULL ELSE datetime(row.updated) END
"""
ENTITIES = """
UNWIND $rows AS row
MERGE (e:Entity {key: row.key}) SET e.type = row.type, e.text = row.text, e.path = row.path, e.df = row.df
"""
LABEL = {kind: f"MATCH (e:Entity {{type: '{kind.lower()}'}}) SET e:{kind}" for kind in ("Brand", "Category")}
BELOW = "UNWIND $rows AS row MATCH (a:Entity {key: row.a}), (b:Entity {key: row.b}) MERGE (a)-[:CHILD_OF]->(b)"
NEAR = """
UNWIND $rows AS row MATCH (a:Entity {key: row.a}), (b:Entity {key: row.b})
MERGE (a)-[s:SIMILAR_TO]->(b) SET s.weight = row.weight, s.source = 'text'
"""
LINK = {
    relation: f"UNWIND $rows AS row MATCH (p:Product {{id: row.id}}), (e:Entity {{key: row.key}}) "
    f"MERGE (p)-[r:{relation}]->(e) SET r.weight = 1.0"
    for relation in ("MADE_BY", "IN_CATEGORY", "HAS_ENTITY")
}
INSTANCE = """
UNWIND $rows AS row MATCH (p:Product {id: row.product})
MERGE (i:Instance {id: row.id}) SET i.kind = row.kind MERGE (i)-[:OF]->(p)
"""
COUNTER = "MERGE (c:Counter {name: 'revision'}) SET c.value = $value"
CURSOR = "MATCH (g:Generation {id: $id}) SET g.cursor = $cursor, g.state = 'shadow'"


@dataclass(frozen=True)
class Item:
    """One product, as the catalogue says it."""

    id: str
    brand: str | None
    category: tuple[str, ...] | None
    colours: frozenset[str]
    seller: str
    price: float | None
    updated: datetime | None
    vectors: Mapping[str, NDArray[np.float32]]  # instance id → vector

    @property
    def keys(self) -> set[str]:
        """Of the entities it is linked to in any way."""
        return {f"colour:{colour}" for colour in self.colours} | {
            key for key in (self.brand_key, self.category_key) if key
        }

    @property
    def brand_key(self) -> str | None:
        return f"brand:{self.brand.casefold()}" if self.brand else None

    @property
    def category_key(self) -> str | None:
        return f"category:{' > '.join(self.category).casefold()}" if self.category else None


@dataclass(frozen=True)
class World:
    items: list[Item]
    generation: Generation

    def admitted(self, filters: Filters) -> list[Item]:
        """By brute force over the Python objects; `cypher` is not understood."""
        return [item for item in self.items if all(_passes(item, filters))]

    def best(self, filters: Filters, queries: NDArray[np.float32], k: int) -> list[Ranked]:
        """The k nearest admitted products, by brute force over all vectors."""
        found = []
        for item in self.admitted(filters):
            scored = [(max(_cosine(query, vector) for query in queries), name) for name, vector in item.vectors.items()]
            if scored:
                score, name = min(scored, key=lambda pair: (-round(pair[0], 6), pair[1]))
                found.append(Ranked(item.id, name, round(score, 6)))
        return ordered(found)[:k]


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    x, y = a.astype(float), b.astype(float)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def _passes(item: Item, asked: Filters) -> list[bool]:
    path = tuple(name.casefold() for name in item.category or ())
    above = {f"category:{' > '.join(path[: n + 1])}" for n in range(len(path))}
    linked = item.keys | above

    def under(name: str) -> bool:
        if name.startswith("category:"):
            return name in above
        wanted = tuple(part.strip().casefold() for part in name.split(">"))
        return any(path[:n][-len(wanted) :] == wanted for n in range(1, len(path) + 1))

    def bears(name: str) -> bool:
        return name in linked or any(key.split(":", 1)[1].split(" > ")[-1] == name.casefold() for key in linked)

    return [
        not asked.brand or (item.brand or "").casefold() in {brand.casefold() for brand in asked.brand},
        not asked.category or any(under(name) for name in asked.category),
        not asked.entity or any(bears(name) for name in asked.entity),
        not asked.near or any(bears(name) for name in _around(asked)),
        not asked.seller or item.seller in asked.seller,
        asked.min_price is None or (item.price is not None and item.price >= asked.min_price),
        asked.max_price is None or (item.price is not None and item.price <= asked.max_price),
        asked.updated_since is None or (item.updated is not None and item.updated >= asked.updated_since),
        all(all(_passes(item, one)) for one in asked.all),
        not asked.any or any(all(_passes(item, one)) for one in asked.any),
        not any(all(_passes(item, one)) for one in asked.not_),
    ]


def _around(asked: Filters) -> set[str]:
    found = {name.removeprefix("colour:") for name in asked.near}
    for _ in range(asked.hops):
        near = [(a, b) for a, b, weight in SIMILAR if weight >= asked.min_weight]
        found |= {b for a, b in near if a in found} | {a for a, b in near if b in found}
    return found


def build(stores: Stores, *, seed: int, products: int) -> World:
    """Write a random catalogue, embedded up to its last change. Some vectors are equal, some prices unknown, some
    products without pictures."""
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    pool = numbers.standard_normal((max(4, products // 3), DIM)).astype(np.float32)
    items = []
    for n in range(products):
        name = f"sku{n:04d}"
        vectors = {
            f"{name}#img{i}": pool[rng.randrange(len(pool))]
            if rng.random() < 0.3
            else numbers.standard_normal(DIM).astype(np.float32)
            for i in range(rng.choice([0, 1, 1, 2, 4]))
        }
        items.append(
            Item(
                name,
                rng.choice([*BRANDS, None]),
                rng.choice([*CATEGORIES, None]),
                frozenset(rng.sample(COLOURS, rng.choice([0, 1, 2]))),
                rng.choice(SELLERS),
                rng.choice([None, 0.0, round(rng.uniform(1, 100), 2)]),
                rng.choice([None, EPOCH + timedelta(hours=rng.randrange(2000), milliseconds=rng.randrange(1000))]),
                vectors,
            )
        )
    for name in ("statistics", "resident"):  # of the catalogue before this one
        vars(stores).pop(name, None)
    _write_graph(stores, items)
    generation = generations.register(
        stores, encoder="random", fingerprint=f"{seed:010d}f", encoder_path="", dim=DIM, kinds=("image",)
    )
    everything = {name: vector for item in items for name, vector in item.vectors.items()}
    rows = [
        {**change.fields, "instance_id": instance.id, "vector": everything[instance.id]}
        for change in changes(stores.graph, 0, products)
        for instance in change.instances
    ]
    stores.vectors.upsert(generation.collections(stores.vectors.prefix)["image"], rows)
    stores.graph.write(CURSOR, id=generation.id, cursor=products)
    return World(items, switching.promote(stores, generation.id))


def _write_graph(stores: Stores, items: list[Item]) -> None:
    graph = stores.graph
    keys = [key for item in items for key in item.keys]
    named = [("brand", name, None) for name in BRANDS] + [("colour", name, None) for name in COLOURS]
    named += [("category", path[-1], list(path)) for path in CATEGORIES]  # type: ignore[misc]
    entities = []
    for kind, text, path in named:
        key = f"{kind}:{' > '.join(path or [text]).casefold()}"
        entities.append({"key": key, "type": kind, "text": text, "path": path, "df": keys.count(key)})
    graph.write(ENTITIES, rows=entities)
    for label in LABEL.values():
        graph.write(label)
    paths = [[f"category:{' > '.join(path[:n]).casefold()}" for n in (len(path), len(path) - 1)] for path in CATEGORIES]
    graph.write(BELOW, rows=[{"a": a, "b": b} for (a, b), path in zip(paths, CATEGORIES, strict=True) if len(path) > 1])
    graph.write(NEAR, rows=[{"a": f"colour:{a}", "b": f"colour:{b}", "weight": weight} for a, b, weight in SIMILAR])
    rows = [
        {
            "id": item.id,
            "title": " ".join(sorted(item.colours)) + f" {item.brand or 'thing'} {n % 7}",
            "seller": item.seller,
            "price": item.price,
            "revision": n,
            "updated": item.updated.isoformat() if item.updated else None,
        }
        for n, item in enumerate(items, 1)
    ]
    graph.write_rows(WRITE, rows)
    for relation, pairs in {
        "MADE_BY": [(item.id, item.brand_key) for item in items],
        "IN_CATEGORY": [(item.id, item.category_key) for item in items],
        "HAS_ENTITY": [(item.id, f"colour:{colour}") for item in items for colour in item.colours],
    }.items():
        graph.write(LINK[relation], rows=[{"id": id, "key": key} for id, key in pairs if key])
    instances = [{"id": name, "product": item.id, "kind": "image"} for item in items for name in item.vectors]
    graph.write(INSTANCE, rows=instances)
    graph.write(COUNTER, value=len(items))
