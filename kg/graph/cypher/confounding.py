"""Statements of how much the words of an entity mislead: what an encoder's training found, kept at the entities."""

from __future__ import annotations

__all__ = ["CONFOUNDING", "CONFOUNDING_COUNT", "CONFOUNDING_DROP", "CONFOUNDING_PUT"]

# Writes $rows of key, confounding, mismatch, drop_in_loss, chosen, found by the encoder of fingerprint $by; nothing
# returned. An entity that is gone meanwhile is left out.
CONFOUNDING_PUT = """
UNWIND $rows AS row
MATCH (e:Entity {key: row.key})
SET e.confounding = row.confounding, e.mismatch = row.mismatch, e.drop_in_loss = row.drop_in_loss,
    e.confounding_chosen = row.chosen, e.confounding_by = $by
"""

# Takes what other encoders than $by found off up to $limit entities: gone, how many.
CONFOUNDING_DROP = """
MATCH (e:Entity) WHERE e.confounding_by <> $by
WITH e LIMIT $limit
REMOVE e.confounding, e.mismatch, e.drop_in_loss, e.confounding_chosen, e.confounding_by
RETURN count(*) AS gone
"""

# One row: entities, how many have a finding.
CONFOUNDING_COUNT = "MATCH (e:Entity) WHERE e.confounding_by IS NOT NULL RETURN count(e) AS entities"

# Every entity with a score, streamed: key, type, text, df, confounding, mismatch, drop_in_loss, chosen, by.
CONFOUNDING = """
MATCH (e:Entity) WHERE e.confounding_by IS NOT NULL
RETURN e.key AS key, e.type AS type, e.text AS text, e.df AS df, e.confounding AS confounding,
       e.mismatch AS mismatch, e.drop_in_loss AS drop_in_loss, e.confounding_chosen AS chosen, e.confounding_by AS by
"""
