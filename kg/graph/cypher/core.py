"""Statements of the graph core: life signs and the migration chain."""

from __future__ import annotations

__all__ = ["MIGRATIONS", "MIGRATION_APPLIED", "PING"]

# One row: one = 1.
PING = "RETURN 1 AS one"

# The applied chain, oldest first: version, name, checksum.
MIGRATIONS = """
MATCH (m:Migration)
RETURN m.version AS version, m.name AS name, m.checksum AS checksum ORDER BY version
"""

# Records one step as applied; nothing returned.
MIGRATION_APPLIED = """
MERGE (m:Migration {version: $version})
SET m.name = $name, m.checksum = $checksum, m.applied_at = datetime()
"""
