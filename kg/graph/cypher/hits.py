"""Cypher of what a result shows of each product."""

from __future__ import annotations

__all__ = ["LISTINGS"]

# One row a product of $ids: id, title, description, url, seller, price, currency, updated_at (ISO text), links (maps of
# relation, weight, key, text, path of the entities it is linked to), pictures (maps of instance_id, box, uri, width,
# height), offers (maps of product_id, seller, price, currency, url: listings of the very same product that have a
# price; one may come twice). Comprehensions, not OPTIONAL MATCH and collect: nothing is grouped, in half the time.
LISTINGS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
RETURN p.id AS id, p.title AS title, p.description AS description, p.url AS url, p.seller AS seller,
       p.price AS price, p.currency AS currency, toString(p.updated_at) AS updated_at,
       [(p)-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e:Entity) |
        {relation: type(r), weight: r.weight, key: e.key, text: e.text, path: e.path}] AS links,
       [(p)<-[:OF]-(i:Instance {kind: 'image'})-[:IN]->(m:Image) |
        {instance_id: i.id, box: i.box, uri: m.uri, width: m.width, height: m.height}] AS pictures,
       [(p)-[:SAME_AS*0..2]-(o:Product) WHERE o.price IS NOT NULL |
        {product_id: o.id, seller: o.seller, price: o.price, currency: o.currency, url: o.url}] AS offers
"""
