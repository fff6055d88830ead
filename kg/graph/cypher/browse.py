"""Cypher of looking at things one by one: products, their offers and pictures, entities, counts."""

from __future__ import annotations

# One row: the listing with its brand and category names, or no row.
PRODUCT = """
MATCH (p:Product {id: $id})
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(c:Category)
RETURN p.id AS id, p.title AS title, p.description AS description, p.url AS url, p.seller AS seller,
       p.price AS price, p.currency AS currency, p.identity AS identity, toString(p.updated_at) AS updated_at,
       p.revision AS revision, b.text AS brand, c.path AS category
LIMIT 1
"""

# One row an entity of the product: key, type, text, source, weight.
PRODUCT_ENTITIES = """
MATCH (p:Product {id: $id})-[r:HAS_ENTITY]->(e:Entity)
RETURN e.key AS key, e.type AS type, e.text AS text, r.source AS source, r.weight AS weight
ORDER BY key
"""

# One row a picture of the product, in order of the instance id: instance, uri, image, width, height, box.
PRODUCT_PICTURES = """
MATCH (p:Product {id: $id})<-[:OF]-(n:Instance {kind: 'image'})-[:IN]->(i:Image)
RETURN n.id AS instance_id, i.uri AS uri, i.id AS image_id, i.width AS width, i.height AS height, n.box AS box
ORDER BY instance_id
"""

# One row, the picture of one instance: uri, image; or no row.
PICTURE = """
MATCH (n:Instance {id: $instance_id})-[:IN]->(i:Image)
RETURN i.uri AS uri, i.id AS image_id
LIMIT 1
"""

# One row an entity of a type (or of any: $type null) whose text matches a full-text query: key, type, text, df, score.
ENTITY_SEARCH = """
CALL db.index.fulltext.queryNodes('entity_text', $query) YIELD node, score
WITH node, score WHERE $type IS NULL OR node.type = $type
RETURN node.key AS key, node.type AS type, node.text AS text, node.df AS df, score
ORDER BY score DESC, key
LIMIT $limit
"""

# One row an entity, the most frequent first: key, type, text, df.
ENTITIES = """
MATCH (e:Entity)
WHERE $type IS NULL OR e.type = $type
RETURN e.key AS key, e.type AS type, e.text AS text, e.df AS df
ORDER BY df DESC, key
LIMIT $limit
"""

# One row, or none: the entity of a key, with what an encoder's training found of it (see kg.confounding).
ENTITY = """
MATCH (e:Entity {key: $key})
RETURN e.key AS key, e.type AS type, e.text AS text, e.df AS df, e.path AS path, e.confounding AS confounding,
       e.mismatch AS mismatch, e.drop_in_loss AS drop_in_loss, e.confounding_chosen AS chosen
"""

# One row an entity similar to the one of a key, nearest first: key, type, text, df, weight (of several sources the
# greatest).
NEIGHBOURS = """
MATCH (e:Entity {key: $key})
WITH e MATCH (e)-[r:SIMILAR_TO]-(o:Entity)
RETURN o.key AS key, o.type AS type, o.text AS text, o.df AS df, max(r.weight) AS weight
ORDER BY weight DESC, key
LIMIT $limit
"""

# One row a picture of a product, streamed: id, identity, title, description, uri, box; in order of the instance id.
TRAINING_PICTURES = """
MATCH (p:Product)<-[:OF]-(n:Instance {kind: 'image'})-[:IN]->(i:Image)
RETURN p.id AS id, p.identity AS identity, p.title AS title, p.description AS description, i.uri AS uri, n.box AS box
ORDER BY n.id
"""

# One row a product, streamed: id, brand (key or null), categories (keys, with all above), stated (keys of the other
# entities that a field names).
TRAINING_ENTITIES = """
MATCH (p:Product)
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
WITH p, min(b.key) AS brand
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(:Category)-[:CHILD_OF*0..30]->(c:Category)
WITH p, brand, collect(DISTINCT c.key) AS categories
OPTIONAL MATCH (p)-[r:HAS_ENTITY]->(e:Entity) WHERE r.source = 'field'
RETURN p.id AS id, brand, categories, collect(DISTINCT e.key) AS stated
"""

# The entity with the most neighbours over SIMILAR_TO, or no row: key, neighbours.
BEST_CONNECTED = """
MATCH (e:Entity)-[:SIMILAR_TO]-(o:Entity)
RETURN e.key AS key, count(DISTINCT o) AS neighbours
ORDER BY neighbours DESC, key
LIMIT 1
"""

# The first product by id that has a title, or no row: id, title.
ANY_PRODUCT = """
MATCH (p:Product) WHERE p.title <> ''
RETURN p.id AS id, p.title AS title
ORDER BY id
LIMIT 1
"""

# The category that most products of a brand are in, or no row: text.
CATEGORY_OF_BRAND = """
MATCH (b:Brand {key: $key})
WITH b MATCH (b)<-[:MADE_BY]-(p:Product)-[:IN_CATEGORY]->(c:Category)
RETURN c.text AS text, count(p) AS products
ORDER BY products DESC, text
LIMIT 1
"""

# The attribute without a digit in it (a size makes a dull example) that most products of a category have, or no row:
# text.
ATTRIBUTE_OF_CATEGORY = """
MATCH (c:Category {key: $key})
WITH c MATCH (c)<-[:IN_CATEGORY]-(p:Product)-[:HAS_ENTITY]->(e:Attribute)
WHERE NOT e.text =~ '.*[0-9].*'
RETURN e.text AS text, count(p) AS products
ORDER BY products DESC, text
LIMIT 1
"""
