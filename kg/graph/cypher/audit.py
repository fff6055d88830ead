"""Statements of the audit: what each product should have vectors of, and what was found."""

from __future__ import annotations

__all__ = [
    "AUDIT_AGAIN",
    "AUDIT_EDITED",
    "AUDIT_LATEST",
    "AUDIT_NOTE",
    "AUDIT_PRESENT",
    "AUDIT_PRODUCTS",
    "AUDIT_REMOVED",
]

_SHOWN = """
OPTIONAL MATCH (p)<-[:OF]-(i:Instance)
OPTIONAL MATCH (i)-[:IN]->(m:Image)
RETURN p.id AS id, p.revision AS revision, p.content_hash AS content_hash,
       coalesce(p.title, '') <> '' OR coalesce(p.description, '') <> '' AS has_text,
       collect({id: i.id, kind: i.kind, uri: m.uri, rejected: i.rejected}) AS instances
"""

# Products changed last within ($after, $until], in any order: id, revision, content_hash, has_text, instances (maps of
# id, kind, uri, rejected; one map of nulls where there are none).
AUDIT_PRODUCTS = f"MATCH (p:Product) WHERE p.revision > $after AND p.revision <= $until{_SHOWN}"

# The same of $ids, as far as they are still there.
AUDIT_AGAIN = f"UNWIND $ids AS id MATCH (p:Product {{id: id}}){_SHOWN}"

# Those of $ids that are products: id.
AUDIT_PRESENT = "UNWIND $ids AS id MATCH (p:Product {id: id}) RETURN p.id AS id"

# Those of $ids that were removed after $cursor, which a generation has yet to learn: id.
AUDIT_REMOVED = "UNWIND $ids AS id MATCH (r:Removed {id: id}) WHERE r.revision > $cursor RETURN r.id AS id"

# Notes that rows of a generation are deleted by the audit; nothing returned.
AUDIT_EDITED = "MATCH (g:Generation {id: $id}) SET g.edited = coalesce(g.edited, 0) + 1"

# Keeps what the latest audit found; nothing returned.
AUDIT_NOTE = "MERGE (a:Audit {id: 'latest'}) SET a += $values"

# One row, or none: a, what the latest audit found.
AUDIT_LATEST = "MATCH (a:Audit {id: 'latest'}) RETURN properties(a) AS a"
