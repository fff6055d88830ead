"""Statements of the similarity edges between entities."""

from __future__ import annotations

__all__ = ["ENTITY_TEXTS", "SIMILAR_COUNT", "SIMILAR_PRUNE", "SIMILAR_WRITE"]

# Every entity: key, text.
ENTITY_TEXTS = "MATCH (e:Entity) RETURN e.key AS key, e.text AS text"

# Writes edges of one computation: $rows of a (the smaller key), b, weight; nothing returned.
SIMILAR_WRITE = """
UNWIND $rows AS row
MATCH (a:Entity {key: row.a})
MATCH (b:Entity {key: row.b})
MERGE (a)-[s:SIMILAR_TO]->(b)
SET s.weight = row.weight, s.source = 'text', s.generation = $generation
"""

# Removes up to $limit text edges of other computations: gone, how many.
SIMILAR_PRUNE = """
MATCH (:Entity)-[s:SIMILAR_TO]->(:Entity) WHERE s.source = 'text' AND s.generation <> $generation
WITH s LIMIT $limit
DELETE s
RETURN count(*) AS gone
"""

# One row: edges, how many edges this computation has.
SIMILAR_COUNT = """
MATCH (:Entity)-[s:SIMILAR_TO]->(:Entity) WHERE s.source = 'text' AND s.generation = $generation
RETURN count(s) AS edges
"""
