"""Statements of the graph encoder: the entity graph as it is exported, and whose vector is how old."""

from __future__ import annotations

__all__ = [
    "EDGES_AT",
    "ENTITIES_BY_HEAD",
    "ENTITY_EDGES",
    "ENTITY_NODES",
    "ENTITY_STALE",
    "VECTORS_MARK",
    "VECTORS_NOTE",
    "VECTORS_NOTED",
    "VECTORS_STALE",
]

# Every entity, streamed: key, type, text.
ENTITY_NODES = "MATCH (e:Entity) RETURN e.key AS key, e.type AS type, e.text AS text"

# Every similarity edge, streamed: a, b (keys), weight, source.
ENTITY_EDGES = """
MATCH (a:Entity)-[s:SIMILAR_TO]->(b:Entity)
RETURN a.key AS a, b.key AS b, s.weight AS weight, s.source AS source
"""

# One row: value, the number of the latest change of similarity edges, 0 before the first.
EDGES_AT = """
OPTIONAL MATCH (c:Counter {name: 'edges'})
RETURN coalesce(c.value, 0) AS value
"""

# Says for $rows of key what their vectors know: the edges up to $at; nothing returned.
VECTORS_MARK = "UNWIND $rows AS row MATCH (e:Entity {key: row.key}) SET e.vector_at = $at"

# Notes properties of a collection of entity vectors, by its name; nothing returned.
VECTORS_NOTE = "MERGE (c:Counter {name: $name}) SET c += $values"

# One row: c, what is noted of such a collection; none where nothing is.
VECTORS_NOTED = "MATCH (c:Counter {name: $name}) RETURN properties(c) AS c"

# One row: entities; unknown (without a vector); changed (edges changed after what its vector knows).
VECTORS_STALE = """
MATCH (e:Entity)
RETURN count(e) AS entities,
       sum(CASE WHEN e.vector_at IS NULL THEN 1 ELSE 0 END) AS unknown,
       sum(CASE WHEN e.vector_at IS NOT NULL AND coalesce(e.edges_at, 0) > e.vector_at THEN 1 ELSE 0 END) AS changed
"""

# One row, or none: stale, whether the entity of a key has no vector or one that knows less than its edges say.
ENTITY_STALE = """
MATCH (e:Entity {key: $key})
RETURN CASE WHEN e.vector_at IS NULL OR coalesce(e.edges_at, 0) > e.vector_at THEN true ELSE false END AS stale
"""

# Entities whose key begins with one of $heads: key.
ENTITIES_BY_HEAD = """
UNWIND $heads AS head
MATCH (e:Entity) WHERE e.key STARTS WITH head
RETURN DISTINCT e.key AS key
"""
