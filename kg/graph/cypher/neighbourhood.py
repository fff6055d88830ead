"""Cypher of the entities that words name, and of what lies around them over SIMILAR_TO."""

from __future__ import annotations

__all__ = ["AROUND", "BETWEEN", "ENTITY_TYPES", "NAMED"]

# One row an entity type in use: type. Walks all entities.
ENTITY_TYPES = "MATCH (e:Entity) WHERE e.type IS NOT NULL RETURN DISTINCT e.type AS type"

# One row an entity that has one of $keys: key, text, type, df, confounding, chosen (see kg.confounding).
NAMED = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
RETURN e.key AS key, e.text AS text, e.type AS type, e.df AS df,
       e.confounding AS confounding, e.confounding_chosen AS chosen
"""

# One row a SIMILAR_TO edge of $min_weight or more at one of $keys, the $limit heaviest: source (that key), key, text,
# type, df, confounding, chosen (of the other end), weight, origin (what the edge was made from).
AROUND = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
WITH e MATCH (e)-[s:SIMILAR_TO]-(other:Entity)
WHERE s.weight >= $min_weight
RETURN e.key AS source, other.key AS key, other.text AS text, other.type AS type, other.df AS df,
       other.confounding AS confounding, other.confounding_chosen AS chosen, s.weight AS weight, s.source AS origin
ORDER BY weight DESC, key, source, origin
LIMIT $limit
"""

# One row a SIMILAR_TO edge of $min_weight or more between two of $keys, the $limit heaviest: source, target, weight,
# origin, generation.
BETWEEN = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
WITH e MATCH (e)-[s:SIMILAR_TO]->(other:Entity)
WHERE s.weight >= $min_weight AND other.key IN $keys
RETURN e.key AS source, other.key AS target, s.weight AS weight, s.source AS origin, s.generation AS generation
ORDER BY weight DESC, source, target, origin
LIMIT $limit
"""
