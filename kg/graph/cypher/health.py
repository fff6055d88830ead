"""Cypher of the doctor: how much of what there is."""

from __future__ import annotations

__all__ = ["COUNTS", "COUNT_INSTANCES", "COUNT_JOBS"]

# By label, a statement of one row: nodes. Of one label each, so that a server answers from its own counts.
COUNTS = {label: f"MATCH (n:{label}) RETURN count(n) AS nodes" for label in ("Product", "Image", "Instance", "Entity")}

# One row a kind of instance (image, text): kind, instances.
COUNT_INSTANCES = "MATCH (n:Instance) RETURN n.kind AS kind, count(*) AS instances"

# One row a kind and state of jobs: kind, state, jobs.
COUNT_JOBS = "MATCH (j:Job) RETURN j.kind AS kind, j.state AS state, count(*) AS jobs"
