"""Statements of price comparison: who sells the very same product, which listings state what they are, and from which
score on a generation's vectors may say so."""

from __future__ import annotations

__all__ = ["CALIBRATE", "CALIBRATIONS", "IDENTITIES", "OFFERS", "SAME"]

# One row a listing of the very same product as $id, itself included: id. No row where there is no such product.
SAME = """
MATCH (p:Product {id: $id})-[:SAME_AS*0..2]-(o:Product)
RETURN DISTINCT o.id AS id
"""

# One row a listing of $ids: id, title, seller, price, currency, url, identity, attributes (texts that its fields state;
# one null where there are none).
OFFERS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
OPTIONAL MATCH (p)-[r:HAS_ENTITY]->(e:Entity) WHERE r.source = 'field'
RETURN p.id AS id, p.title AS title, p.seller AS seller, p.price AS price, p.currency AS currency, p.url AS url,
       p.identity AS identity, collect(e.text) AS attributes
"""

# Every listing that states which product it is: id, identity.
IDENTITIES = """
MATCH (p:Product) WHERE p.identity IS NOT NULL AND p.identity <> ''
RETURN p.id AS id, p.identity AS identity
"""

# Notes what was calibrated for a generation: $values; one row, id, if there is such a generation.
CALIBRATE = "MATCH (g:Generation {id: $id}) SET g += $values RETURN g.id AS id"

# Generations that are calibrated: generation, and what CALIBRATE noted.
CALIBRATIONS = """
MATCH (g:Generation) WHERE g.offers_score IS NOT NULL
RETURN g.id AS generation, g.offers_way AS way, g.offers_score AS score, g.offers_goal AS goal,
       g.offers_precision AS precision, g.offers_bound AS bound, g.offers_recall AS recall, g.offers_pairs AS pairs,
       g.offers_right AS right, g.offers_identities AS identities, g.offers_at AS at
ORDER BY generation
"""
