"""Milvus filter expressions: small typed builders over the vector schema, and the one place that writes literals.

Only the subset that every build reads alike is written (Lite 3.2, server 2.3 and later): no filter templates, ranges as
two comparisons, and strings escaped as below. An empty expression lets everything through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from kg.errors import BadFilter
from kg.vectors.schema import FIELDS, Field, fit

__all__ = ["NOTHING", "and_", "array_any", "between", "eq", "isin", "literal", "not_", "or_"]

NOTHING = 'product_id == ""'  # ids are never empty; `in []` is not portable
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def literal(value: str | int | float) -> str:
    """One literal that every build reads back as `value`.

    Raises:
        BadFilter: not a string or number, a number that is not finite or not within 64 bits, or a lone surrogate.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadFilter(f"{value!r} is neither text nor a number")
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise BadFilter(f"{value!r} is not valid Unicode: it holds half of a surrogate pair")
        # Lite knows no \uXXXX, and all builds take other control characters as they are.
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, float) and not math.isfinite(value):
        raise BadFilter(f"{value!r} is not a finite number")
    if isinstance(value, int) and not -(2**63) < value < 2**63:
        raise BadFilter(f"{value} does not fit into 64 bits")
    return repr(value)


def eq(field: str, value: str | int | float) -> str:
    """Rows whose `field` is `value`."""
    return f"{field} == {_value(field, value)}"


def isin(field: str, values: Iterable[str | int | float]) -> str:
    """Rows whose `field` is one of `values`; of none, no row."""
    listed = [_value(field, value) for value in values]
    return f"{field} in [{', '.join(listed)}]" if listed else NOTHING


def array_any(field: str, values: Iterable[str]) -> str:
    """Rows whose array `field` holds at least one of `values`; of none, no row."""
    _field(field, "texts")
    listed = [literal(fit(field, value)) for value in values]
    return f"ARRAY_CONTAINS_ANY({field}, [{', '.join(listed)}])" if listed else NOTHING


def between(field: str, low: float | None = None, high: float | None = None) -> str:
    """Rows with `low <= field <= high`, either end open where None; rows whose value is unknown never match.

    Raises:
        BadFilter: neither end is given, the ends are the wrong way round, or `field` is not a number.
    """
    floor = _field(field, "double", "int").floor
    if low is None and high is None:
        raise BadFilter(f"a range of {field} needs a lower or an upper end", field=field)
    if low is not None and high is not None and low > high:
        raise BadFilter(f"{field} from {low} to {high}: the lower end is above the upper one", field=field)
    if floor is not None:
        low = floor if low is None else max(low, floor)
    parts = [f"{field} >= {literal(low)}"] if low is not None else []
    parts += [f"{field} <= {literal(high)}"] if high is not None else []
    return f"({' and '.join(parts)})"


def and_(*parts: str) -> str:
    """Rows that match every part; empty parts ask nothing."""
    asked = [part for part in parts if part]
    return asked[0] if len(asked) == 1 else " and ".join(f"({part})" for part in asked)


def or_(*parts: str) -> str:
    """Rows that match at least one part; empty parts are left out."""
    asked = [part for part in parts if part]
    return asked[0] if len(asked) == 1 else " or ".join(f"({part})" for part in asked)


def not_(part: str) -> str:
    """Rows that do not match `part`."""
    return f"not ({part})" if part else NOTHING


def _field(name: str, *kinds: str) -> Field:
    field = FIELDS.get(name)
    if field is None:
        raise BadFilter(f"no field {name!r} beside the vectors; there are {', '.join(FIELDS)}", field=name)
    if field.kind not in kinds:
        raise BadFilter(f"{name} is of kind {field.kind}: this comparison takes {' or '.join(kinds)}", field=name)
    return field


def _value(name: str, value: str | int | float) -> str:
    field = _field(name, "key", "text", "double", "int")
    if isinstance(value, str) != (field.kind in ("key", "text")):
        raise BadFilter(f"{name} = {value!r}: the field is of kind {field.kind}", field=name)
    return literal(fit(name, value) if isinstance(value, str) else value)
