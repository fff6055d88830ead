"""Statements of the generations: which encoder's vectors there are, and how far each has come."""

from __future__ import annotations

__all__ = [
    "GENERATION",
    "GENERATIONS",
    "GENERATION_ADVANCE",
    "GENERATION_LIVE",
    "GENERATION_REGISTER",
    "GENERATION_STATE",
]

# One row: g, the properties of the generation; none where there is no such id.
GENERATION = "MATCH (g:Generation {id: $id}) RETURN properties(g) AS g"

# Every generation, oldest first: g, its properties.
GENERATIONS = "MATCH (g:Generation) RETURN properties(g) AS g ORDER BY g.created_at, g.id"

# Creates the generation, or notes where the checkpoint of a known one lies now: g, its properties.
GENERATION_REGISTER = """
MERGE (g:Generation {id: $id})
ON CREATE SET g.encoder = $encoder, g.fingerprint = $fingerprint, g.dim = $dim, g.kinds = $kinds,
              g.regions = $regions, g.state = 'building', g.cursor = 0, g.created_at = $now
SET g.encoder_path = $encoder_path
RETURN properties(g) AS g
"""

# Moves the cursor from $before to $after: one row if it stood at $before, none otherwise. The first SET takes the
# write lock; only then is the cursor read.
GENERATION_ADVANCE = """
MATCH (g:Generation {id: $id})
SET g.touched_at = $now
WITH g WHERE g.cursor = $before
SET g.cursor = $after
RETURN g.cursor AS cursor
"""

# Sets the state if it is $before: one row if it was.
GENERATION_STATE = """
MATCH (g:Generation {id: $id})
SET g.touched_at = $now
WITH g WHERE g.state = $before
SET g.state = $after
RETURN g.state AS state
"""

# Writes down that $id is live and no other is; nothing returned. (What decides is the alias in the vector store.)
GENERATION_LIVE = """
MATCH (g:Generation) WHERE g.id = $id OR g.state = 'live'
SET g.state = CASE WHEN g.id = $id THEN 'live' ELSE 'shadow' END
"""
