"""A tiny catalogue written straight into the graph, for tests of what reads it: products, pictures, entities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kg.graph.driver import Graph, Tx

PUT = """
MERGE (p:Product {id: $id})
SET p.title = $title, p.description = $description, p.seller = $seller, p.price = $price, p.revision = $revision,
    p.content_hash = $title, p.updated_at = datetime('2026-01-02T03:04:05Z')
WITH p
OPTIONAL MATCH (p)-[old:MADE_BY|IN_CATEGORY|HAS_ENTITY]->() DELETE old
WITH DISTINCT p
OPTIONAL MATCH (p)<-[:OF]-(i:Instance) DETACH DELETE i
"""
BRAND = """
MATCH (p:Product {id: $id}) MERGE (b:Entity:Brand {key: $key}) SET b.type = 'brand', b.text = $text
MERGE (p)-[:MADE_BY]->(b)
"""
ATTRIBUTE = """
MATCH (p:Product {id: $id}) MERGE (e:Entity:Attribute {key: $key}) SET e.type = 'colour', e.text = $text
MERGE (p)-[:HAS_ENTITY {source: 'field'}]->(e)
"""
CATEGORY = """
MATCH (p:Product {id: $id})
MERGE (home:Entity:Category {key: 'category:home'}) SET home.text = 'Home'
MERGE (leaf:Entity:Category {key: 'category:home > candles'}) SET leaf.text = 'Candles'
MERGE (leaf)-[:CHILD_OF]->(home)
MERGE (p)-[:IN_CATEGORY]->(leaf)
"""
TEXT = "MATCH (p:Product {id: $id}) CREATE (i:Instance {id: $instance, kind: 'text'})-[:OF]->(p)"
PICTURE = """
MATCH (p:Product {id: $id})
MERGE (m:Image {id: $uri}) SET m.uri = $uri
CREATE (i:Instance {id: $instance, kind: 'image', box: $box})-[:OF]->(p)
CREATE (i)-[:IN]->(m)
MERGE (m)-[:SHOWS]->(p)
"""
BUMP = """
MERGE (c:Counter {name: 'revision'}) ON CREATE SET c.value = 0 SET c.value = c.value + 1 RETURN c.value AS revision
"""
GONE = "MATCH (p:Product {id: $id}) OPTIONAL MATCH (p)<-[:OF]-(i:Instance) DETACH DELETE i, p"
REMOVED = "MERGE (r:Removed {id: $id}) SET r.revision = $revision"


def put(
    graph: Graph,
    product: str,
    *,
    title: str = "",
    pictures: Sequence[Path] = (),
    box: Sequence[float] | None = None,
    price: float | None = None,
    colour: str = "",
) -> int:
    """Write or change one product of the brand Aurora in Home > Candles; the revision that the change took."""

    def work(tx: Tx) -> int:
        revision = tx.run(BUMP)[0]["revision"]
        name = title or f"Product {product}"
        values = {"title": name, "description": "", "seller": "Corner Shop", "price": price, "revision": revision}
        tx.run(PUT, id=product, **values)
        tx.run(BRAND, id=product, key="brand:aurora", text="Aurora")
        tx.run(CATEGORY, id=product)
        if colour:
            tx.run(ATTRIBUTE, id=product, key=f"colour:{colour}", text=colour)
        tx.run(TEXT, id=product, instance=f"{product}#txt")
        for n, picture in enumerate(pictures):
            tx.run(PICTURE, id=product, instance=f"{product}#img{n}", uri=picture.as_uri(), box=box and list(box))
        return int(revision)

    return graph.transaction(work)


def remove(graph: Graph, product: str) -> int:
    """Take a product out; the revision that this took."""

    def work(tx: Tx) -> int:
        revision = tx.run(BUMP)[0]["revision"]
        tx.run(GONE, id=product)
        tx.run(REMOVED, id=product, revision=revision)
        return int(revision)

    return graph.transaction(work)


def draw(path: Path, seed: int) -> Path:
    """A small picture in colours of its own, the same for the same seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 64), Image.Resampling.NEAREST).save(path)
    return path
