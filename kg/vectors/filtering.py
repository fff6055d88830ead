"""The same selection beside the vectors: what of it Milvus can tell by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kg.conditions import All, AnyOf, Condition, Leaf, Not, leaves
from kg.errors import BadFilter
from kg.graph.selection import Selection
from kg.vectors.expressions import NOTHING, and_, array_any, between, isin, not_, or_

__all__ = ["MAX_KEYS", "expression"]

MAX_KEYS = 2000  # of one selection; a longer expression costs more than asking the graph


def expression(selection: Selection) -> str | None:
    """Milvus filter that admits the instances of the very same products; None where Milvus cannot tell.

    It cannot where a Cypher pattern is asked for, or where more than MAX_KEYS entities are meant. Rows carry what the
    graph said when they were embedded: the caller sees to it that nothing is stale.
    """
    asked = list(leaves(selection.tree))
    if any(leaf.name == "pattern" for leaf in asked):
        return None
    if sum(len(leaf.value) for leaf in asked if isinstance(leaf.value, list)) > MAX_KEYS:
        return None
    return _told(selection.tree)


def _told(condition: Condition) -> str:
    """Of a folded condition; empty where everything passes."""
    match condition:
        case Leaf():
            return _leaf(condition)
        case Not(part=part):
            return not_(_told(part))
        case All(parts=parts):
            return and_(*map(_told, parts))
        case AnyOf(parts=parts):
            return or_(*map(_told, parts)) or NOTHING


def _leaf(leaf: Leaf) -> str:
    value = leaf.value
    match leaf.name:
        case "brands":
            return isin("brand", value)
        case "categories":
            return array_any("categories", value)
        case "entities" | "near" | "graph":
            return _linked(value)
        case "sellers":
            return isin("seller", value)
        case "min_price":
            return between("price", low=value)
        case "max_price":
            return between("price", high=value)
        case "updated_since":
            return between("updated_at", low=int(datetime.fromisoformat(value).timestamp()))
    raise BadFilter(f"condition {leaf.name!r} has no meaning beside the vectors", field=leaf.place)


def _linked(keys: Sequence[str]) -> str:
    """Rows linked to one of the keys in any way."""
    brands = [key for key in keys if key.startswith("brand:")]
    categories = [key for key in keys if key.startswith("category:")]
    return or_(
        array_any("entities", keys),
        isin("brand", brands) if brands else "",
        array_any("categories", categories) if categories else "",
    )
