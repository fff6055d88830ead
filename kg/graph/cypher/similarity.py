"""Statements of the similarity edges between entities: one edge for each pair and source, from the smaller key.

Whoever makes, changes or removes edges takes a number of the counter `edges` in the same transaction and leaves it at
both ends as `edges_at`: by it what is computed from edges knows what it has yet to see.
"""

from __future__ import annotations

__all__ = [
    "EDGES_COUNT",
    "EDGES_OF",
    "EDGES_PUT",
    "EDGES_REMOVE",
    "EDGES_TAKE",
    "EDGES_TOUCH",
    "ENTITY_TEXTS",
    "LEAVING",
    "PRODUCT_LINKS",
]

# Every entity: key, text.
ENTITY_TEXTS = "MATCH (e:Entity) RETURN e.key AS key, e.text AS text"

# Every link of a product to an entity, those of one product not always together: id, key.
PRODUCT_LINKS = "MATCH (p:Product)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e:Entity) RETURN p.id AS id, e.key AS key"

# Every edge of $source: a (where it begins), b, weight.
EDGES_OF = """
MATCH (a:Entity)-[s:SIMILAR_TO]->(b:Entity) WHERE s.source = $source
RETURN a.key AS a, b.key AS b, s.weight AS weight
"""

# One row a source: source, edges, how many it has.
EDGES_COUNT = """
MATCH (:Entity)-[s:SIMILAR_TO]->(:Entity)
RETURN s.source AS source, count(s) AS edges
"""

# Takes a number: number. Its lock puts transactions that write edges in order.
EDGES_TAKE = """
MERGE (c:Counter {name: 'edges'})
SET c.value = coalesce(c.value, 0) + 1
RETURN c.value AS number
"""

# Makes or changes edges of $source: $rows of a (the smaller key), b, weight; one row an edge: a. An edge whose end is
# gone meanwhile is left out.
EDGES_PUT = """
UNWIND $rows AS row
MATCH (a:Entity {key: row.a})
MATCH (b:Entity {key: row.b})
MERGE (a)-[s:SIMILAR_TO {source: $source}]->(b)
SET s.weight = row.weight, s.generation = $generation, a.edges_at = $number, b.edges_at = $number
RETURN row.a AS a
"""

# Removes edges of $source: $rows of a, b; nothing returned.
EDGES_REMOVE = """
UNWIND $rows AS row
MATCH (a:Entity {key: row.a})
WITH row, a MATCH (a)-[s:SIMILAR_TO]->(b:Entity) WHERE b.key = row.b AND s.source = $source
SET a.edges_at = $number, b.edges_at = $number
DELETE s
"""

# Neighbours of entities that no product and no category below names any more, which are about to be taken out: key.
LEAVING = """
MATCH (e:Entity)
WHERE e.df <= 0 AND NOT EXISTS { MATCH (e)<-[:CHILD_OF]-(:Entity) }
WITH e MATCH (e)-[:SIMILAR_TO]-(o:Entity)
RETURN DISTINCT o.key AS key
"""

# Leaves a number at entities of which something around has changed; nothing returned.
EDGES_TOUCH = "UNWIND $keys AS key MATCH (e:Entity {key: key}) SET e.edges_at = $number"
