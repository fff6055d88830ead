"""Statements of the rules for what searches show, and of what a search must know before it starts."""

from __future__ import annotations

__all__ = [
    "RULE",
    "RULES",
    "RULES_CHANGED",
    "RULES_VERSION",
    "RULE_ADD",
    "RULE_EVENTS",
    "RULE_EVENT_ADD",
    "RULE_REMOVE",
    "SAME",
    "STANDING",
]

# One row: r, the properties of the rule; none where there is no such id.
RULE = "MATCH (r:Rule {id: $id}) RETURN properties(r) AS r"

# Every rule, oldest first: r, its properties.
RULES = "MATCH (r:Rule) RETURN properties(r) AS r ORDER BY r.created_at, r.id"

# Writes a rule down, once; nothing returned.
RULE_ADD = "MERGE (r:Rule {id: $id}) SET r += $values"

# Takes it away; nothing returned.
RULE_REMOVE = "MATCH (r:Rule {id: $id}) DETACH DELETE r"

# Counts a change of the rules, so that whoever has read them reads them again; nothing returned.
RULES_CHANGED = "MERGE (c:Counter {name: 'rules'}) SET c.value = coalesce(c.value, 0) + 1"

# One row: rules, how often they were changed.
RULES_VERSION = "OPTIONAL MATCH (c:Counter {name: 'rules'}) RETURN coalesce(c.value, 0) AS rules"

# Adds to the audit trail, once; nothing returned.
RULE_EVENT_ADD = "MERGE (e:Event {id: $id}) SET e += $values"

# The latest $limit events of one rule (of all: ''), newest first: e.
RULE_EVENTS = """
MATCH (e:Event) WHERE e.rule IS NOT NULL AND ($rule = '' OR e.rule = $rule)
RETURN properties(e) AS e ORDER BY e.at DESC, e.id LIMIT $limit
"""

# One row: g (the properties of generation $id; null where there is none), revision (number of the latest change of the
# catalogue), rules (how often these were changed).
STANDING = """
OPTIONAL MATCH (g:Generation {id: $id})
OPTIONAL MATCH (c:Counter {name: 'revision'})
OPTIONAL MATCH (r:Counter {name: 'rules'})
RETURN CASE WHEN g IS NULL THEN NULL ELSE properties(g) END AS g, coalesce(c.value, 0) AS revision,
       coalesce(r.value, 0) AS rules
"""

# One row a product of $ids: id, first (the smallest id among the listings of the very same product).
SAME = """
UNWIND $ids AS id
MATCH (p:Product {id: id})-[:SAME_AS*0..2]-(o:Product)
RETURN p.id AS id, min(o.id) AS first
"""
