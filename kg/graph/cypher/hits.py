"""Cypher of what a result shows of each product."""

from __future__ import annotations

__all__ = ["CARDS", "OFFERS", "PICTURES"]

# One row a product of $ids: id, title, description, url, seller, price, currency, updated_at (ISO text), links (maps of
# relation, weight, key, text, path of the entities it is linked to; one map of nulls where there are none).
CARDS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
OPTIONAL MATCH (p)-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e:Entity)
RETURN p.id AS id, p.title AS title, p.description AS description, p.url AS url, p.seller AS seller,
       p.price AS price, p.currency AS currency, toString(p.updated_at) AS updated_at,
       collect({relation: type(r), weight: r.weight, key: e.key, text: e.text, path: e.path}) AS links
"""

# One row a picture instance of a product of $ids: product_id, instance_id, box, uri, width, height.
PICTURES = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
WITH p MATCH (p)<-[:OF]-(i:Instance {kind: 'image'})-[:IN]->(m:Image)
RETURN p.id AS product_id, i.id AS instance_id, i.box AS box, m.uri AS uri, m.width AS width, m.height AS height
"""

# One row an offer with a price, for each of $ids and of the very same product: id, product_id, seller, price, currency,
# url.
OFFERS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
WITH p MATCH (p)-[:SAME_AS*0..2]-(offer:Product)
WHERE offer.price IS NOT NULL
RETURN DISTINCT p.id AS id, offer.id AS product_id, offer.seller AS seller, offer.price AS price,
       offer.currency AS currency, offer.url AS url
"""
