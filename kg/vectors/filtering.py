"""The same selection beside the vectors: what of it Milvus can tell by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kg.graph.selection import Selection
from kg.vectors.expressions import and_, array_any, between, isin, or_

__all__ = ["MAX_KEYS", "expression"]

MAX_KEYS = 2000  # of one selection; a longer expression costs more than asking the graph


def expression(selection: Selection) -> str | None:
    """Milvus filter that admits the instances of the very same products; None where Milvus cannot tell.

    It cannot where a Cypher pattern is asked for, or where more than MAX_KEYS entities are meant. Rows carry what the
    graph said when they were embedded: the caller sees to it that nothing is stale.
    """
    asked = selection.asked
    if "pattern" in asked or sum(len(v) for v in asked.values() if isinstance(v, list)) > MAX_KEYS:
        return None
    parts = []
    if "brands" in asked:
        parts.append(isin("brand", asked["brands"]))
    if "categories" in asked:
        parts.append(array_any("categories", asked["categories"]))
    parts += [_linked(asked[name]) for name in ("entities", "near", "graph") if name in asked]
    if "sellers" in asked:
        parts.append(isin("seller", asked["sellers"]))
    if "min_price" in asked or "max_price" in asked:
        parts.append(between("price", asked.get("min_price"), asked.get("max_price")))
    if "updated_since" in asked:
        parts.append(between("updated_at", int(datetime.fromisoformat(asked["updated_since"]).timestamp())))
    return and_(*parts)


def _linked(keys: Sequence[str]) -> str:
    """Rows linked to one of the keys in any way."""
    brands = [key for key in keys if key.startswith("brand:")]
    categories = [key for key in keys if key.startswith("category:")]
    return or_(
        array_any("entities", keys),
        isin("brand", brands) if brands else "",
        array_any("categories", categories) if categories else "",
    )
