"""Entities that a request names beside its text, for encoders that read them; they are no filters."""

from __future__ import annotations

from collections.abc import Sequence

from api.models import GivenEntity
from kg.graph.driver import Graph
from kg.graph.neighbourhood import nodes
from kg.records import entity_key, normalise

__all__ = ["given_entities", "unknown"]

LEVEL = " > "  # between the levels of a category


def given_entities(entities: Sequence[GivenEntity]) -> list[tuple[str, str]]:
    """(type, value) as encoders take them: of a category every level, from the root down."""
    found: dict[tuple[str, str], None] = {}
    for one in entities:
        kind = normalise(one.type)
        if kind != "category":
            found[kind, one.value] = None
            continue
        parts = [part.strip() for part in one.value.split(LEVEL.strip())]
        found |= {(kind, LEVEL.join(parts[: depth + 1])): None for depth in range(len(parts))}
    return list(found)


def unknown(graph: Graph, given: Sequence[tuple[str, str]]) -> list[str]:
    """What one should know of entities that the catalogue does not have."""
    keys = [entity_key(*one) for one in given]
    there = nodes(graph, keys) if keys else {}
    return [
        f"no entity {key!r}: the encoder takes it for an unknown one of its type" for key in keys if key not in there
    ]
