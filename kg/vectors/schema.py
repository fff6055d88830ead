"""The fields beside each vector: one table that the collection, the rows and the filter expressions all follow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kg.errors import BadVector

__all__ = ["FIELDS", "VECTOR", "Field", "complete", "fit"]

VECTOR = "vector"
ARRAY_CAPACITY = 4096  # most elements of one array, the servers' own bound


@dataclass(frozen=True)
class Field:
    """One scalar or array field.

    Attributes:
        kind: what Milvus stores.
        limit: most characters of a string (of each element, in an array).
        floor: smallest real value of a number; what lies below means unknown and is stored as `default`.
        default: stored where a row does not say.
    """

    kind: Literal["key", "text", "texts", "double", "int"]
    limit: int = 0
    floor: float | None = None
    default: Any = ""


FIELDS: dict[str, Field] = {
    "instance_id": Field("key", 200),
    "product_id": Field("key", 128),
    "brand": Field("text", 256),
    "categories": Field("texts", 512, default=()),
    "entities": Field("texts", 256, default=()),
    "seller": Field("text", 256),
    "price": Field("double", floor=0, default=-1.0),
    "updated_at": Field("int", floor=1, default=0),
    "content_hash": Field("text", 64),
    "revision": Field("int", default=0),
}


def fit(name: str, text: str) -> str:
    """`text` as the field stores it: one that is too long keeps its head and ends in a hash of the whole, so that
    equal texts stay equal and others differ."""
    limit = FIELDS[name].limit
    return text if len(text) <= limit else f"{text[: limit - 17]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def complete(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with every field of the schema and nothing else; its vector is passed on as it is.

    Raises:
        BadVector: an unknown field, no vector, an empty or too long key, or an array above its capacity.
    """
    if unknown := set(row) - set(FIELDS) - {VECTOR}:
        raise BadVector(f"fields {sorted(unknown)} are not in the vector schema {sorted(FIELDS)}")
    if VECTOR not in row:
        raise BadVector(f"row {row.get('instance_id')!r} has no vector")
    stored: dict[str, Any] = {VECTOR: row[VECTOR]}
    for name, field in FIELDS.items():
        value = row.get(name, field.default)
        if field.kind == "key":
            if not isinstance(value, str) or not 0 < len(value) <= field.limit:
                raise BadVector(f"{name} = {value!r}: a key has 1 to {field.limit} characters")
        elif field.kind == "text":
            value = fit(name, value)
        elif field.kind == "texts":
            value = [fit(name, text) for text in value]
            if len(value) > ARRAY_CAPACITY:
                raise BadVector(f"{name} of {row['instance_id']!r} has {len(value)} elements, at most {ARRAY_CAPACITY}")
        elif field.floor is not None and value < field.floor:
            value = field.default
        stored[name] = value
    return stored
