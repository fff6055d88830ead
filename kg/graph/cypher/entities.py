"""Statements of the phrases that captions mention, and of entities that nothing names any more."""

from __future__ import annotations

__all__ = [
    "CAPTIONS",
    "DICTIONARY",
    "ENTITIES_PRUNE",
    "MENTIONS",
    "MENTIONS_CLEAR",
    "MINED",
    "MINED_ADD",
    "MINED_DONE",
    "MINED_DROP",
    "MINED_STATE",
    "PHRASES_DONE",
    "PHRASES_STATE",
    "REVISIONS",
    "STATED",
    "TITLES",
]

# One row an entity that a field states, or that stands above one: key, type, text, path.
DICTIONARY = """
MATCH (e:Entity)
WHERE EXISTS { MATCH (e)<-[s:HAS_ENTITY]-(:Product) WHERE s.source = 'field' }
   OR EXISTS { MATCH (e)<-[:MADE_BY]-(:Product) }
   OR EXISTS { MATCH (e)<-[:IN_CATEGORY]-(:Product) }
   OR EXISTS { MATCH (e)<-[:CHILD_OF]-(:Entity) }
RETURN e.key AS key, e.type AS type, e.text AS text, e.path AS path
"""

# One row: revision (the latest), cursor (captions are matched up to it), dictionary (hash of what they were matched
# with, null before the first time).
PHRASES_STATE = """
OPTIONAL MATCH (c:Counter {name: 'revision'})
WITH coalesce(c.value, 0) AS revision
OPTIONAL MATCH (d:Counter {name: 'phrases'})
RETURN revision, coalesce(d.value, 0) AS cursor, d.dictionary AS dictionary
"""

# Notes how far captions are matched, and with what; nothing returned.
PHRASES_DONE = """
MERGE (d:Counter {name: 'phrases'})
SET d.value = $cursor, d.dictionary = $dictionary
"""

# Products changed within ($after, $until]: one row, products, lists of id, title, description, and pairs of key and
# source of their entities (none where there are none). As one row it takes the driver half the time.
CAPTIONS = """
MATCH (p:Product) WHERE p.revision > $after AND p.revision <= $until
RETURN collect([p.id, p.title, p.description,
                [(p)-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e:Entity) | [e.key, r.source]]]) AS products
"""

# Links products to entities that their captions mention: $rows of id, key, source; nothing returned.
MENTIONS = """
UNWIND $rows AS row
MATCH (e:Entity {key: row.key})
MATCH (p:Product {id: row.id})
CREATE (p)-[:HAS_ENTITY {source: row.source, weight: 0.5}]->(e)
"""

# Takes such links off: $rows of id, key, source; nothing returned.
MENTIONS_CLEAR = """
UNWIND $rows AS row
MATCH (p:Product {id: row.id})-[r:HAS_ENTITY]->(e:Entity {key: row.key})
WHERE r.source = row.source
DELETE r
"""

# New revision numbers: $rows of id, revision; nothing returned.
REVISIONS = "UNWIND $rows AS row MATCH (p:Product {id: row.id}) SET p.revision = row.revision"

# Takes out up to $limit entities that no product and no category below names: gone, how many.
ENTITIES_PRUNE = """
MATCH (e:Entity)
WHERE e.df <= 0 AND NOT EXISTS { MATCH (e)<-[:CHILD_OF]-(:Entity) }
WITH e LIMIT $limit
DETACH DELETE e
RETURN count(*) AS gone
"""

# Every product: title, description.
TITLES = "MATCH (p:Product) RETURN p.title AS title, p.description AS description"

# One row: products; and links, how many of them to an entity the fields state.
STATED = """
MATCH (p:Product)
WITH count(p) AS products
OPTIONAL MATCH (:Product)-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(:Entity)
WHERE r.source IS NULL OR r.source = 'field'
RETURN products, count(r) AS links
"""

# One row: products (how many there are now), round (which mined phrases hold; '' none; null: never decided), then
# (products when it was decided), rule (by which).
MINED_STATE = """
OPTIONAL MATCH (p:Product)
WITH count(p) AS products
OPTIONAL MATCH (c:Counter {name: 'mined'})
RETURN products, c.round AS round, coalesce(c.value, 0) AS then, c.rule AS rule
"""

# Phrases of $round: key, type, text, df, score, spellings.
MINED = """
MATCH (m:Phrase) WHERE m.round = $round
RETURN m.key AS key, m.type AS type, m.text AS text, m.df AS df, m.score AS score, m.spellings AS spellings
"""

# Phrases of $round, which does not hold yet: $rows of key, type, text, df, score, spellings; nothing returned.
MINED_ADD = """
UNWIND $rows AS row
CREATE (m:Phrase {round: $round, key: row.key, type: row.type, text: row.text, df: row.df, score: row.score,
                  spellings: row.spellings})
"""

# From now on $round holds, decided by $rule when there were $products; nothing returned.
MINED_DONE = """
MERGE (c:Counter {name: 'mined'})
SET c.round = $round, c.value = $products, c.rule = $rule
"""

# Takes out up to $limit phrases of other rounds than $round: gone, how many.
MINED_DROP = """
MATCH (m:Phrase) WHERE m.round <> $round
WITH m LIMIT $limit
DETACH DELETE m
RETURN count(*) AS gone
"""
