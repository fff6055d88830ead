"""Statements of recommendations: what products are linked to, what goes with that, and who else bears it."""

from __future__ import annotations

__all__ = ["BEARERS", "COMPANIONS", "LEAVES", "LINKS", "SAME_AS", "SIZE"]

# One row, n: how many products there are.
SIZE = "MATCH (p:Product) RETURN count(p) AS n"

# One row a link of a product of $ids: id, relation, key, type, text, df. A product without links has none.
LINKS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
WITH p MATCH (p)-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(e:Entity)
RETURN p.id AS id, type(r) AS relation, e.key AS key, e.type AS type, e.text AS text, e.df AS df
"""

# One row an entity that is named together with one of $keys more often than chance has it: key, other, type, text, df
# (of the other), weight.
COMPANIONS = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
WITH e MATCH (e)-[s:SIMILAR_TO]-(f:Entity)
WHERE s.source = 'cooccurrence' AND f.df <= $most
RETURN e.key AS key, f.key AS other, f.type AS type, f.text AS text, f.df AS df, s.weight AS weight
"""

# One row a product that is linked to an entity of $keys: key, id, relation.
BEARERS = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
WITH e MATCH (e)<-[r:HAS_ENTITY|MADE_BY|IN_CATEGORY]-(p:Product)
RETURN e.key AS key, p.id AS id, type(r) AS relation
"""

# One row a product of $ids that stands in a category: id, key (of the leaf).
LEAVES = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
WITH p MATCH (p)-[:IN_CATEGORY]->(c:Entity)
RETURN p.id AS id, c.key AS key
"""

# One row a listing of the very same product as one of $ids, itself included: id, same. Unknown ids have none.
SAME_AS = """
UNWIND $ids AS id
MATCH (p:Product {id: id})
WITH p MATCH (p)-[:SAME_AS*0..2]-(o:Product)
RETURN DISTINCT p.id AS id, o.id AS same
"""
