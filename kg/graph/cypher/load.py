"""Statements of the load that API processes report. Times are the server's own, so that hosts need not agree on one."""

from __future__ import annotations

__all__ = ["LOAD_FORGET", "LOAD_NOTE", "LOAD_SLOWEST"]

# Notes the latest figure of one process; nothing returned.
LOAD_NOTE = "MERGE (l:Load {id: $id}) SET l.p95_ms = $p95_ms, l.at = timestamp()"

# One row: p95_ms, the greatest figure of the last $fresh ms, 0 where there is none.
LOAD_SLOWEST = """
OPTIONAL MATCH (l:Load) WHERE l.at > timestamp() - $fresh
RETURN coalesce(max(l.p95_ms), 0.0) AS p95_ms
"""

# Takes out the figure of $id and those older than $old ms; nothing returned.
LOAD_FORGET = "MATCH (l:Load) WHERE l.id = $id OR l.at < timestamp() - $old DETACH DELETE l"
