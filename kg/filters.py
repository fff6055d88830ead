"""The graph part of a search: where the wanted products sit.

Fields are joined by *and*; the values of one field by *or*. An empty field asks for nothing. `all`, `any` and `not`
hold filters themselves, so that they make a tree. What each field means in the graph stands in
kg/graph/cypher/filters.py, what it means beside the vectors in kg/vectors/filtering.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kg.errors import BadFilter

__all__ = [
    "JOINS",
    "MAX_ASKED",
    "MAX_DEPTH",
    "MAX_HOPS",
    "MAX_NESTED",
    "MAX_PATTERNS",
    "MAX_VALUES",
    "Filters",
    "place_of",
]

MAX_HOPS = 4
MAX_VALUES = 100  # of one field
MAX_ASKED = 500  # values of all fields of a tree: each may be looked up among all entities
MAX_DEPTH = 6  # of filters within filters
MAX_NESTED = 32  # filters within filters, all together
MAX_PATTERNS = 4  # `cypher` of one tree: each runs by itself, up to the time limit
JOINS = ("all", "any", "not")  # fields that hold filters
LISTS = ("brand", "category", "entity", "near", "seller")  # fields of several values

Value = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


def _listed(value: object) -> object:
    """One value stands for a list of one."""
    return (value,) if isinstance(value, str) else () if value is None else value


Values = Annotated[tuple[Value, ...], BeforeValidator(_listed), Field(max_length=MAX_VALUES)]
Price = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


def _parsed(value: object, info: ValidationInfo) -> object:
    """The filters within `all`, `any` or `not`, each refused with its place in the tree."""
    join = str(info.field_name).rstrip("_")
    if join == "not" and isinstance(value, (Mapping, Filters)):
        value = [value]
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of filters")
    parts = []
    for at, part in enumerate(value):
        place = place_of((info.context or {}).get("place", ""), join, at, len(value))
        parts.append(Filters.model_validate(part, context={"place": place}))
        if parts[-1].empty:
            raise BadFilter(f"filter {place} asks for nothing", hint="leave it out", field=place)
    return tuple(parts)


def place_of(above: str, join: str, at: int, of: int) -> str:
    """`any.1`, or `any.1.not` where there is but one."""
    return f"{above}.{join}".lstrip(".") + ("" if join == "not" and of == 1 else f".{at}")


def _bounded(data: object) -> None:
    """Refuse a tree that is too deep or too large before any of it is parsed."""
    level, nested, patterns, asked = [("", data)], 0, 0, 0
    for depth in range(MAX_DEPTH + 2):
        if depth > MAX_DEPTH and level:
            place = level[0][0]
            raise BadFilter(f"filter {place}: filters nest at most {MAX_DEPTH} levels deep", field=place)
        patterns += sum(_field(node, "cypher") is not None for _, node in level)
        values = [_field(node, name) for _, node in level for name in LISTS]
        asked += sum(len(value) for value in values if isinstance(value, (list, tuple)))
        level = [inner for place, node in level for inner in _within(place, node)]
        nested += len(level)
        if nested > MAX_NESTED:
            place = level[0][0].split(".")[0]
            message = f"filters hold more than {MAX_NESTED} filters within `all`, `any` and `not`"
            raise BadFilter(message, field=place)
    if nested and asked > MAX_ASKED:
        raise BadFilter(f"filters hold {asked} values in all, at most {MAX_ASKED}")
    if patterns > MAX_PATTERNS:
        raise BadFilter(f"filters hold {patterns} `cypher` patterns, at most {MAX_PATTERNS}", field="cypher")


def _within(place: str, node: object) -> Iterator[tuple[str, object]]:
    for join in JOINS:
        value = _field(node, join)
        parts = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        for at, part in enumerate(parts):
            yield place_of(place, join, at, len(parts)), part


def _field(node: object, name: str) -> object:
    """Of filters, parsed or not."""
    if isinstance(node, Filters):
        return getattr(node, "not_" if name == "not" else name)
    return node.get(name) if isinstance(node, Mapping) else None


class Filters(BaseModel):
    """What the graph must say of a product for it to be found.

    Raises:
        BadFilter: an unknown field (the message names the nearest and the known ones), a value of the wrong type or
            out of range, `min_price` above `max_price`, `hops` or `min_weight` without `near`; filters within filters
            that ask for nothing, or a tree that is too deep or too large. It names the place: `any.1.not.brand`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    brand: Values = Field(default=(), description="Made by any of these brands: names, or keys such as `brand:aurora`")
    category: Values = Field(
        default=(), description="In any of these categories or below: a name, a path `Home > Candles`, or a key"
    )
    entity: Values = Field(default=(), description="Linked to any of these entities: keys `type:text`, or plain texts")
    near: Values = Field(
        default=(), description="Linked to any of these entities or to a neighbour of theirs over SIMILAR_TO"
    )
    hops: int = Field(default=1, ge=0, le=MAX_HOPS, description="How far from `near`, in SIMILAR_TO edges")
    min_weight: float = Field(
        default=0, ge=-1, le=1, description="Smallest weight of each SIMILAR_TO edge walked from `near`"
    )
    min_price: Price | None = Field(default=None, description="Lowest price; a listing without price never passes")
    max_price: Price | None = Field(default=None, description="Highest price; a listing without price never passes")
    seller: Values = Field(default=(), description="Offered by any of these sellers, spelled as in the catalogue")
    updated_since: datetime | None = Field(
        default=None, description="Updated at or after this moment (whole seconds, UTC where no zone is given)"
    )
    cypher: str | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="Read-only Cypher that returns product ids in one column",
    )
    all: Annotated[tuple[Filters, ...], BeforeValidator(_parsed)] = Field(
        default=(), description="Filters that must all pass, each with the fields of this one"
    )
    any: Annotated[tuple[Filters, ...], BeforeValidator(_parsed)] = Field(
        default=(), description="Filters of which at least one must pass"
    )
    not_: Annotated[tuple[Filters, ...], BeforeValidator(_parsed)] = Field(
        default=(),
        alias="not",
        description="Filters, one or a list, none of which may pass; what lacks a value passes: a listing without "
        "price is not below `max_price`",
    )

    @field_validator("updated_since")
    @classmethod
    def _whole_seconds(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        try:
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
        except OverflowError as error:
            raise ValueError("lies outside of the years 1 to 9999 in UTC") from error
        if value.timestamp() <= 0:  # 0 stands for "unknown" beside the vectors
            raise ValueError("must be later than 1970-01-01T00:00:00Z")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_price is not None and self.max_price is not None and self.min_price > self.max_price:
            raise ValueError(f"min_price {self.min_price:g} is above max_price {self.max_price:g}")
        if not self.near and (self.hops, self.min_weight) != (1, 0):
            raise ValueError("hops and min_weight go with near, which is missing")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, data: Any, handler: Callable[[Any], Self], info: ValidationInfo) -> Self:
        """Every refusal is a BadFilter that names the field and its place, wherever the filters are parsed."""
        place = (info.context or {}).get("place", "")
        if not place:
            _bounded(data)
        try:
            return handler(data)
        except ValidationError as error:
            first = error.errors()[0]
            own = ".".join(str(part) for part in first["loc"])
            field = f"{place}.{own}".strip(".")
            if first["type"] == "extra_forbidden":
                known = [one.alias or name for name, one in cls.model_fields.items()]
                near = get_close_matches(own, known, 1)
                message = f"unknown filter {field!r}" + (f", did you mean {near[0]!r}?" if near else "")
                raise BadFilter(message, hint=f"known: {', '.join(known)}", field=field) from error
            rule = first["msg"].removeprefix("Value error, ")
            message = f"filter {field} = {first['input']!r}: {rule}" if own or place else f"filters: {rule}"
            raise BadFilter(message, field=field, rule=rule) from error

    @property
    def empty(self) -> bool:
        """True where nothing is asked of the graph."""
        return not any(getattr(self, name) not in ((), None) for name in set(Filters.model_fields) - _MODIFIERS)


_MODIFIERS = frozenset({"hops", "min_weight"})
