"""Statements of the change feed: everything that changed after a revision, in the order of the changes."""

from __future__ import annotations

__all__ = [
    "FEED_CHANGED",
    "FEED_GONE",
    "FEED_PRODUCTS",
    "FEED_REMOVED",
    "FEED_STALE",
    "FEED_TOUCH",
    "FEED_TOUCH_GONE",
    "REJECTED",
    "REJECTED_CLEAR",
    "REVISION",
]

# One row: revision, the number of the latest committed change (0 before the first). Every smaller number is visible
# by then, because the counter's lock puts the changes in order: read this first, and no change is ever skipped.
REVISION = "OPTIONAL MATCH (c:Counter {name: 'revision'}) RETURN coalesce(c.value, 0) AS revision"

# The first $limit products changed within ($after, $until]: id, revision, title, description, seller, price,
# updated_at, content_hash, brand (entity key or null), categories and entities (keys), stated (those of the entities
# that a field names), instances (maps of id, kind, box, uri, rejected; one map of nulls where there are none).
FEED_PRODUCTS = """
MATCH (p:Product) WHERE p.revision > $after AND p.revision <= $until
WITH p ORDER BY p.revision LIMIT $limit
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
WITH p, min(b.key) AS brand
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(:Category)-[:CHILD_OF*0..30]->(c:Category)
WITH p, brand, collect(DISTINCT c.key) AS categories
OPTIONAL MATCH (p)-[r:HAS_ENTITY]->(e:Entity)
WITH p, brand, categories, collect(DISTINCT e.key) AS entities,
     collect(DISTINCT CASE WHEN r.source = 'field' THEN e.key END) AS stated
OPTIONAL MATCH (p)<-[:OF]-(i:Instance)
OPTIONAL MATCH (i)-[:IN]->(m:Image)
WITH p, brand, categories, entities, stated,
     collect({id: i.id, kind: i.kind, box: i.box, uri: m.uri, rejected: i.rejected}) AS instances
RETURN p.id AS id, p.revision AS revision, p.title AS title, p.description AS description, p.seller AS seller,
       p.price AS price, p.updated_at AS updated_at, p.content_hash AS content_hash,
       brand, categories, entities, stated, instances
ORDER BY revision
"""

# The first $limit products removed within ($after, $until]: id, revision.
FEED_REMOVED = """
MATCH (r:Removed) WHERE r.revision > $after AND r.revision <= $until
RETURN r.id AS id, r.revision AS revision ORDER BY revision LIMIT $limit
"""

# At most $limit products that changed after $after, in any order: id, revision.
FEED_CHANGED = "MATCH (p:Product) WHERE p.revision > $after RETURN p.id AS id, p.revision AS revision LIMIT $limit"

# At most $limit products that were removed after $after, in any order: id, revision.
FEED_GONE = "MATCH (r:Removed) WHERE r.revision > $after RETURN r.id AS id, r.revision AS revision LIMIT $limit"

# One row: stale, how many changes come after $after.
FEED_STALE = """
OPTIONAL MATCH (p:Product) WHERE p.revision > $after
WITH count(p) AS changed
OPTIONAL MATCH (r:Removed) WHERE r.revision > $after
WITH changed, count(r) AS removed
RETURN changed + removed AS stale
"""

# Gives products new revisions, so that every generation embeds them again: $rows of id, revision; nothing returned.
FEED_TOUCH = "UNWIND $rows AS row MATCH (p:Product {id: row.id}) SET p.revision = row.revision"

# The same for those that were removed: every generation removes them again.
FEED_TOUCH_GONE = "UNWIND $rows AS row MATCH (r:Removed {id: row.id}) SET r.revision = row.revision"

# Forgets which pictures of $ids could not be read; nothing returned.
REJECTED_CLEAR = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
WITH p MATCH (p)<-[:OF]-(i:Instance) WHERE i.rejected IS NOT NULL
REMOVE i.rejected
"""

# Notes instances that could not be read, and so have no vector: $rows of id, error; nothing returned.
REJECTED = "UNWIND $rows AS row MATCH (i:Instance {id: row.id}) SET i.rejected = row.error"
