"""Statements of the graph core: life signs, locks and the migration chain."""

from __future__ import annotations

__all__ = [
    "CLOCK",
    "DATA",
    "LOCK",
    "LOCK_FREE",
    "LOCK_SCHEMA",
    "LOCK_TAKE",
    "MIGRATIONS",
    "MIGRATION_APPLIED",
    "MIGRATION_FORGET",
    "PING",
]

# One row: one = 1.
PING = "RETURN 1 AS one"

# One row: at, the time by the clock of the server, in ms since 1970.
CLOCK = "RETURN timestamp() AS at"

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

# Takes the record of a step away; nothing returned.
MIGRATION_FORGET = "MATCH (m:Migration {version: $version}) DETACH DELETE m"

# One row, if there is anything that users or jobs have made: found = true.
DATA = "MATCH (n) WHERE NOT n:Counter AND NOT n:Migration RETURN true AS found LIMIT 1"

# What the locks need of the schema before its first step: each engine's own language, harmless to repeat.
LOCK_SCHEMA = {
    "neo4j": ("CREATE CONSTRAINT counter_name IF NOT EXISTS FOR (n:Counter) REQUIRE n.name IS UNIQUE",),
    "arcadedb": (
        "CREATE VERTEX TYPE Counter IF NOT EXISTS",
        "CREATE PROPERTY Counter.name IF NOT EXISTS STRING",
        "CREATE INDEX counter_name IF NOT EXISTS ON Counter (name) UNIQUE",
    ),
}

# One row, or none: holder, who has the lock $name (null: nobody).
LOCK = "MATCH (c:Counter {name: $name}) RETURN c.holder AS holder"

# Gives the lock $name to $holder for $lease ms: one row if nobody has it, if it is $holder's or $dead's, or if its time
# is over; with $keep only if it is $holder's. The first SET takes the write lock; only then is it read.
LOCK_TAKE = """
MERGE (c:Counter {name: $name})
SET c.touched_by = $holder
WITH c WHERE c.holder = $holder OR (NOT $keep AND (c.holder IS NULL OR c.holder = $dead OR c.until < timestamp()))
SET c.holder = $holder, c.until = timestamp() + $lease
RETURN c.holder AS holder
"""

# Lets go of the lock $name if $holder has it; nothing returned.
LOCK_FREE = "MATCH (c:Counter {name: $name}) WHERE c.holder = $holder REMOVE c.holder, c.until"
