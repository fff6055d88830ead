"""Cypher of what a result shows of each product."""

from __future__ import annotations

__all__ = ["LISTINGS"]

# One row a product of $ids: id, title, description, url, seller, price, currency, updated_at (ISO text), links (maps of
# relation, weight, key, text, path of the entities it is linked to), pictures (maps of instance_id, box, uri, width,
# height), offers (maps of product_id, seller, price, currency, url: listings of the very same product that have a
# price). Where there are none of these, there is one map of nulls; an offer may come twice.
LISTINGS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
OPTIONAL MATCH (p)-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e:Entity)
WITH p, collect({relation: type(r), weight: r.weight, key: e.key, text: e.text, path: e.path}) AS links
OPTIONAL MATCH (p)<-[:OF]-(i:Instance {kind: 'image'})-[:IN]->(m:Image)
WITH p, links,
     collect({instance_id: i.id, box: i.box, uri: m.uri, width: m.width, height: m.height}) AS pictures
OPTIONAL MATCH (p)-[:SAME_AS*0..2]-(offer:Product) WHERE offer.price IS NOT NULL
RETURN p.id AS id, p.title AS title, p.description AS description, p.url AS url, p.seller AS seller,
       p.price AS price, p.currency AS currency, toString(p.updated_at) AS updated_at, links, pictures,
       collect(DISTINCT {product_id: offer.id, seller: offer.seller, price: offer.price, currency: offer.currency,
                         url: offer.url}) AS offers
"""
