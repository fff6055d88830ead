"""Statements that write listings and take them out. All but KNOWN and IDS run inside the transaction that REVISION_TAKE
opened: the counter's lock puts such transactions one after the other."""

from __future__ import annotations

__all__ = [
    "CHILD_OF",
    "CLEAR_INSTANCES",
    "CLEAR_LINKS",
    "CLEAR_SAME",
    "CLEAR_SHOWS",
    "ENTITIES",
    "ENTITIES_PRESENT",
    "ENTITY_COUNTS",
    "IDS",
    "IMAGES",
    "IMAGES_MOVED",
    "IMAGES_PRUNE",
    "INSTANCES",
    "KNOWN",
    "PRODUCTS",
    "PRODUCTS_NEW",
    "PRODUCTS_REMOVE",
    "PRODUCTS_SEEN",
    "REMOVED",
    "REMOVED_FORGET",
    "REVISION_TAKE",
    "SAME",
    "SAME_MOVED",
    "SAME_WIDER",
    "SAME_WRONG",
    "SHOWS",
    "STANDING",
    "THERE",
]

# Those of $ids that are known: one row, products, lists of id, source and content (hashes). As one row it takes the
# driver a fraction of the time.
KNOWN = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
RETURN collect([p.id, p.source_hash, p.content_hash]) AS products
"""

# Every product: id.
IDS = "MATCH (p:Product) RETURN p.id AS id"

# Takes $n numbers: before, the last one that was taken before.
REVISION_TAKE = """
MERGE (c:Counter {name: 'revision'})
SET c.value = coalesce(c.value, 0) + $n
RETURN c.value - $n AS before
"""

# How many of $ids are known: one row, standing (as products), removed (as what was one).
THERE = """
UNWIND $ids AS id
OPTIONAL MATCH (p:Product {id: id})
OPTIONAL MATCH (r:Removed {id: id})
RETURN count(p) AS standing, count(r) AS removed
"""

# How the products of $ids that exist stand before a change: id, identity, keys (of their entities), images.
STANDING = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
OPTIONAL MATCH (p)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e:Entity)
WITH p, collect(DISTINCT e.key) AS keys
OPTIONAL MATCH (m:Image)-[:SHOWS]->(p)
RETURN p.id AS id, p.identity AS identity, keys, collect(DISTINCT m.id) AS images
"""

# Takes off what the products of $ids are linked to; nothing returned.
CLEAR_LINKS = "UNWIND $ids AS id MATCH (p:Product {id: id})-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(:Entity) DELETE r"
CLEAR_SAME = """
UNWIND $ids AS id
MATCH (p:Product {id: id})-[r:SAME_AS]-(:Product) WHERE r.source = 'identity'
WITH DISTINCT r DELETE r
"""
CLEAR_SHOWS = "UNWIND $ids AS id MATCH (p:Product {id: id})<-[r:SHOWS]-(:Image) DELETE r"
CLEAR_INSTANCES = "UNWIND $ids AS id MATCH (p:Product {id: id})<-[:OF]-(i:Instance) DETACH DELETE i"

# Those of $keys that are there: key, hangs (below another). One label: with two, the embedded engine looks at every
# entity of the second.
ENTITIES_PRESENT = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
RETURN e.key AS key, EXISTS { MATCH (e)-[:CHILD_OF]->(:Entity) } AS hangs
"""

# New entities of one label: $rows of key, text, type, path (null but for categories); nothing returned. Nobody else can
# make the same ones meanwhile: REVISION_TAKE came first.
ENTITIES = {
    label: f"""
UNWIND $rows AS row
CREATE (e:Entity:{label} {{key: row.key}})
SET e.text = row.text, e.type = row.type, e.path = row.path, e.df = 0
"""
    for label in ("Brand", "Category", "Attribute")
}

# Adds to the number of products of entities: $rows of key, n (may be negative); one row: n, of how many.
ENTITY_COUNTS = "UNWIND $rows AS row MATCH (e:Entity {key: row.key}) SET e.df = e.df + row.n RETURN count(e) AS n"

# Hangs categories below each other: $rows of key, parent; nothing returned.
CHILD_OF = """
UNWIND $rows AS row
MATCH (c:Entity {key: row.key})
MATCH (above:Entity {key: row.parent})
MERGE (c)-[:CHILD_OF]->(above)
"""

# What the fields of the product p state, and its text as an instance; entities that the graph lacks are passed over.
_STATED = """
SET p += row.values, p.revision = row.revision,
    p.updated_at = CASE WHEN row.updated_at IS NULL THEN null ELSE datetime(row.updated_at) END
FOREACH (e IN CASE WHEN b IS NULL THEN [] ELSE [b] END | CREATE (p)-[:MADE_BY]->(e))
FOREACH (e IN CASE WHEN c IS NULL THEN [] ELSE [c] END | CREATE (p)-[:IN_CATEGORY]->(e))
FOREACH (text IN CASE WHEN row.text IS NULL THEN [] ELSE [row.text] END |
         CREATE (:Instance {id: text, kind: 'text'})-[:OF]->(p))
WITH p, row
UNWIND row.attributes AS key
MATCH (e:Entity {key: key})
CREATE (p)-[:HAS_ENTITY {source: 'field', weight: 1.0}]->(e)
"""

# Products that are there, without links and instances: $rows of id, values (a null takes the property off), revision,
# updated_at (ISO or null), brand, category (keys or null), attributes (keys), text (of an instance, or null); nothing
# returned. One statement and not one for each kind of link: a product is looked for once.
PRODUCTS = f"""
UNWIND $rows AS row
MATCH (p:Product {{id: row.id}})
OPTIONAL MATCH (b:Entity {{key: row.brand}})
OPTIONAL MATCH (c:Entity {{key: row.category}}){_STATED}"""

# Products that are not there: rows as those of PRODUCTS; nothing returned. Half the time of a MERGE.
PRODUCTS_NEW = f"""
UNWIND $rows AS row
OPTIONAL MATCH (b:Entity {{key: row.brand}})
OPTIONAL MATCH (c:Entity {{key: row.category}})
CREATE (p:Product {{id: row.id}}){_STATED}"""

# Notes the rows that a product came from, where nothing else changed: $rows of id, source; nothing returned.
PRODUCTS_SEEN = "UNWIND $rows AS row MATCH (p:Product {id: row.id}) SET p.source_hash = row.source"

# Pictures: $rows of id, uri, width, height; nothing returned.
IMAGES = """
UNWIND $rows AS row
MERGE (m:Image {id: row.id})
SET m.uri = row.uri, m.width = row.width, m.height = row.height
"""

# Pictures whose bytes are known and lie elsewhere now: $rows of id, uri; nothing returned.
IMAGES_MOVED = "UNWIND $rows AS row MATCH (m:Image {id: row.id}) SET m.uri = row.uri"

# Which picture shows which product: $rows of id, image; nothing returned.
SHOWS = """
UNWIND $rows AS row
MATCH (m:Image {id: row.image})
MATCH (p:Product {id: row.id})
CREATE (m)-[:SHOWS]->(p)
"""

# Occurrences in pictures: $rows of id, instance, image, box (or null); nothing returned.
INSTANCES = """
UNWIND $rows AS row
MATCH (p:Product {id: row.id})
MATCH (m:Image {id: row.image})
CREATE (i:Instance {id: row.instance, kind: 'image', box: row.box})
CREATE (i)-[:OF]->(p)
CREATE (i)-[:IN]->(m)
"""

# Those groups of $rows (identity, n) that hold more than n listings: identity.
SAME_WIDER = """
UNWIND $rows AS row
MATCH (p:Product {identity: row.identity})
WITH row.identity AS identity, row.n AS n, count(p) AS listings
WHERE listings > n
RETURN identity
"""

# Listings of the groups of $identities that are not joined to the one of the smallest id alone: id, hub (of a wrong
# edge, null where there is none), least.
SAME_WRONG = """
UNWIND $identities AS identity
MATCH (p:Product {identity: identity})
WITH identity, min(p.id) AS least
MATCH (p:Product {identity: identity})
OPTIONAL MATCH (p)-[r:SAME_AS]->(hub:Product) WHERE r.source = 'identity'
WITH p, hub, least WHERE hub.id <> least OR hub IS NULL AND p.id <> least
RETURN p.id AS id, hub.id AS hub, least
"""

# Takes edges off: $rows of id, hub; nothing returned.
SAME_MOVED = """
UNWIND $rows AS row
MATCH (p:Product {id: row.id})-[r:SAME_AS]->(hub:Product)
WHERE r.source = 'identity' AND hub.id = row.hub
DELETE r
"""

# Joins listings: $rows of id, least; nothing returned.
SAME = """
UNWIND $rows AS row
MATCH (p:Product {id: row.id})
MATCH (hub:Product {id: row.least})
MERGE (p)-[r:SAME_AS]->(hub)
SET r.source = 'identity', r.score = 1.0
"""

# Takes out products (CLEAR_INSTANCES first); nothing returned.
PRODUCTS_REMOVE = "UNWIND $ids AS id MATCH (p:Product {id: id}) DETACH DELETE p"

# What generations learn of them: $rows of id, revision; nothing returned.
REMOVED = "UNWIND $rows AS row MERGE (r:Removed {id: row.id}) SET r.revision = row.revision"

# Products of $ids are back; nothing returned.
REMOVED_FORGET = "UNWIND $ids AS id MATCH (r:Removed {id: id}) DELETE r"

# Takes out those pictures of $ids that show nothing any more; nothing returned.
IMAGES_PRUNE = """
UNWIND $ids AS id
MATCH (m:Image {id: id})
WHERE NOT EXISTS { MATCH (m)-[:SHOWS]->(:Product) } AND NOT EXISTS { MATCH (m)<-[:IN]-(:Instance) }
DETACH DELETE m
"""
