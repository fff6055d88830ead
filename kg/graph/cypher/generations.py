"""Statements of the generations: which encoder's vectors there are, how far each has come, and who changed which of
them is live."""

from __future__ import annotations

__all__ = [
    "EVENTS",
    "EVENT_ADD",
    "GENERATION",
    "GENERATIONS",
    "GENERATION_ADVANCE",
    "GENERATION_COMING",
    "GENERATION_COMING_SET",
    "GENERATION_EVALUATED",
    "GENERATION_GROUPS",
    "GENERATION_JOBS",
    "GENERATION_KINDS",
    "GENERATION_LIVE",
    "GENERATION_REFILL",
    "GENERATION_REGISTER",
    "GENERATION_RESTART",
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

# Sets the state to building and the cursor to 0 if the state is $before: one row if it was. What was measured and which
# generation it replaced are of another life.
GENERATION_RESTART = """
MATCH (g:Generation {id: $id})
SET g.touched_at = $now
WITH g WHERE g.state = $before
SET g.state = 'building', g.cursor = 0, g.previous = '', g.evaluation = '', g.edited = coalesce(g.edited, 0) + 1
RETURN g.state AS state
"""

# Lets a generation embed everything again while it stays what it is; nothing returned.
GENERATION_REFILL = "MATCH (g:Generation {id: $id}) SET g.cursor = 0, g.edited = coalesce(g.edited, 0) + 1"

# Other kinds of vectors for one that is retired, and so has none; nothing returned.
GENERATION_KINDS = "MATCH (g:Generation {id: $id}) WHERE g.state = 'retired' SET g.kinds = $kinds"

# What $id is about to be promoted or rolled back to in the place of ('' for a rollback, after which there is no way
# back): set before the alias is flipped, so that who finds the flip without its note knows which it was.
GENERATION_COMING_SET = "MATCH (g:Generation {id: $id}) SET g.coming = $previous"

# One row: coming, null where nothing was begun.
GENERATION_COMING = "MATCH (g:Generation {id: $id}) RETURN g.coming AS coming"

# Writes down that $id is live since $now, in the place of $previous, and no other is; nothing returned. (What decides
# is the alias in the vector store.)
GENERATION_LIVE = """
MATCH (g:Generation) WHERE g.id = $id OR g.state = 'live'
SET g.previous = CASE WHEN g.id = $id THEN $previous ELSE g.previous END,
    g.live_since = CASE WHEN g.id = $id THEN $now ELSE g.live_since END,
    g.coming = null,
    g.state = CASE WHEN g.id = $id THEN 'live' ELSE 'shadow' END
"""

# Keeps what an evaluation found (JSON); nothing returned.
GENERATION_EVALUATED = "MATCH (g:Generation {id: $id}) SET g.evaluation = $evaluation"

# Jobs that are not over and fill or judge the generation: id, kind, state.
GENERATION_JOBS = """
MATCH (j:Job) WHERE j.state IN $states AND (j.generation = $id OR j.target = $id)
RETURN j.id AS id, j.kind AS kind, j.state AS state ORDER BY id
"""

# Adds to the audit trail, once; nothing returned.
EVENT_ADD = "MERGE (e:Event {id: $id}) SET e += $values"

# The latest $limit events of one generation (of all: ''), newest first: e. (Rules have events of their own.)
EVENTS = """
MATCH (e:Event) WHERE e.generation IS NOT NULL AND ($generation = '' OR e.generation = $generation)
RETURN properties(e) AS e ORDER BY e.at DESC, e.id LIMIT $limit
"""

# What products of $ids are counted under: id, brands and categories (entity keys, with all above a category).
GENERATION_GROUPS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
WITH p, collect(DISTINCT b.key) AS brands
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(:Category)-[:CHILD_OF*0..30]->(c:Category)
RETURN p.id AS id, brands, collect(DISTINCT c.key) AS categories
"""
