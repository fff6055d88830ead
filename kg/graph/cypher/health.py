"""Cypher of the doctor: how much of what there is."""

from __future__ import annotations

__all__ = ["COUNT_INSTANCES", "COUNT_NODES"]

# One row a label asked for in $labels: label, nodes (labels without a node are left out).
COUNT_NODES = """
MATCH (n)
UNWIND labels(n) AS label
WITH label WHERE label IN $labels
RETURN label, count(*) AS nodes
"""

# One row a kind of instance (image, text): kind, instances.
COUNT_INSTANCES = "MATCH (n:Instance) RETURN n.kind AS kind, count(*) AS instances"
