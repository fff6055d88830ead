"""What a search takes and gives: the one contract of REST, command line and web page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from kg.errors import BadInput
from kg.filters import MAX_HOPS, Filters
from kg.records import Box
from kg.settings import InstanceKind

__all__ = [
    "Facet",
    "Facets",
    "FoundEntity",
    "GivenEntity",
    "GraphUse",
    "Hit",
    "ImageBytes",
    "Match",
    "Model",
    "Offer",
    "PathStep",
    "PlanCost",
    "PlanName",
    "PlanReport",
    "ProductCard",
    "QueryText",
    "SearchReply",
    "SearchRequest",
    "VectorPlan",
    "named",
]

VectorPlan = Literal["attribute", "exact", "ids", "overfetch", "resident"]
PlanName = Literal[VectorPlan, "lexical", "browse"]


def _decoded(value: object) -> object:
    """Bytes as they are; text as base64 in either alphabet, a `data:` prefix allowed."""
    if not isinstance(value, str):
        return value
    text = value.split(",", 1)[1] if value.startswith("data:") and "," in value else value
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64 ({error})") from error


ImageBytes = Annotated[bytes, BeforeValidator(_decoded), Field(json_schema_extra={"contentEncoding": "base64"})]

QueryText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64")


Asked = TypeVar("Asked", bound=BaseModel)


def named(cls: type[Asked], data: Any, handler: Callable[[Any], Asked]) -> Asked:
    """For the wrap validator of a request, its last: every refusal is a BadInput that names the field; filters raise
    their own BadFilter."""
    try:
        return handler(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        rule = first["msg"].removeprefix("Value error, ")
        value = f" = {first['input']!r}"[:200] if first["loc"][:1] in (("boxes",), ("box",)) else ""
        hint = f"known: {', '.join(cls.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise BadInput(f"request: {field + value + ': ' if field else ''}{rule}", hint=hint, field=field) from error


class GraphUse(Model):
    """What the entities that the text means, and those similar to them, do to a search.

    `narrow` keeps to products linked to one of them. `widen` adds the list `graph`: products linked to them, by the
    weights on the way and by how rare the entities are.
    """

    mode: Literal["off", "narrow", "widen"] = "off"
    hops: int = Field(
        default=1, ge=0, le=MAX_HOPS, description="How far from an entity of the text, in SIMILAR_TO edges"
    )
    min_weight: float = Field(default=0.5, ge=0, le=1, description="Smallest weight of each of these edges")
    most: int = Field(default=50, ge=1, le=500, description="Entities in play, the strongest; those of the text count")


class GivenEntity(Model):
    """What is known of a text beside its words."""

    type: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        description="brand, category, or an attribute's: colour, material, …"
    )
    value: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)] = Field(
        description="As a person writes it; a category from the root down, with ` > ` between its levels"
    )


def _mode(value: object) -> object:
    """A mode alone stands for the use with everything else as it is by default."""
    return {"mode": value} if isinstance(value, str) else value


class SearchRequest(Model):
    """What it says (`text`), what it looks like (`image`, `image_url`, `like`), where it sits (`filters`).

    Without any of the first four the products inside `filters` are listed by id.

    Raises:
        BadInput: an unknown field, a value out of range, two pictures, or nothing asked for.
        BadFilter: see `kg.filters.Filters`.
    """

    text: QueryText = Field(default="", description="What it says")
    entities: tuple[GivenEntity, ...] = Field(
        default=(),
        max_length=50,
        description="What is known of `text` beside its words, for an encoder that takes entities; no filters. "
        "Of types that are not given, the encoder looks for entities in the text itself",
    )
    image: ImageBytes | None = Field(default=None, description="A picture: base64 of a JPEG, PNG, WebP, … file")
    image_url: str | None = Field(default=None, max_length=2000, description="A picture by http(s) URL")
    box: Box | None = Field(default=None, description="Region of that picture: x1, y1, x2, y2 in pixels")
    like: str | None = Field(
        default=None, min_length=1, max_length=128, description="Id of a product to find the like of"
    )
    filters: Filters = Field(default=Filters(), description="Where it sits in the graph")
    graph: Annotated[GraphUse, BeforeValidator(_mode)] = Field(
        default=GraphUse(), description="Let the entities that `text` means narrow or widen the search; a mode will do"
    )
    k: int = Field(default=10, ge=1, le=10_000, description="Products wanted (the setting search_max_k caps it)")
    fusion: Literal["rrf", "weighted"] = Field(
        default="rrf", description="How the lists become one: by ranks, or by scores"
    )
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default={},
        description="Weight of a list, 1 where absent: `text-image`, `text-text`, `lexical`, `graph`, …",
    )
    diversity: float = Field(
        default=0, ge=0, le=1, description="0: by score alone; the nearer to 1, the less hits look like those above"
    )
    group: Literal["none", "offers"] = Field(
        default="none", description="`offers`: of listings of the very same product (SAME_AS) the best alone"
    )
    vectors: tuple[InstanceKind, ...] = Field(
        default=(),
        max_length=3,
        description="Kinds of vectors to compare each part of the question with, a list for each; "
        "empty: those that suit it (a text with `fused` vectors only where this says so)",
    )
    plan: VectorPlan | None = Field(default=None, description="Force a plan instead of letting the planner choose")
    explain: bool = Field(default=False, description="Report why the plan was chosen")

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if self.image is not None and self.image_url is not None:
            raise ValueError("give image or image_url, not both")
        if self.box is not None and not self.has_picture:
            raise ValueError("box needs image or image_url")
        if self.entities and not self.text:
            raise ValueError("entities need text: they are read beside it; filters narrow a search without one")
        if self.graph.mode != "off" and not self.text:
            raise ValueError(f"graph mode {self.graph.mode!r} needs text: entities are found in it")
        if not (self.text or self.has_picture or self.like) and self.filters.empty:
            raise ValueError("nothing is asked for: give text, image, image_url, like or filters")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, data: Any, handler: Callable[[Any], Self]) -> Self:
        return named(cls, data, handler)

    @property
    def has_picture(self) -> bool:
        return self.image is not None or self.image_url is not None


class ProductCard(Model):
    """A listing, as much of it as a result shows."""

    id: str
    title: str
    url: str = ""
    seller: str = ""
    price: float | None = None
    currency: str = ""
    brand: str = ""
    category: tuple[str, ...] = Field(default=(), description="From the root down")
    picture: str = Field(default="", description="URI of its first picture, empty where it has none")


class Offer(Model):
    """One seller's price of the very same product (SAME_AS)."""

    product_id: str
    seller: str = ""
    price: float
    currency: str = ""
    url: str = ""


class Match(Model):
    """The instance that matched best."""

    instance_id: str
    kind: InstanceKind
    picture: str = Field(default="", description="URI of its picture, empty for a text")
    box: Box | None = Field(default=None, description="Pixels of the whole picture; none: all of it")
    width: int = Field(default=0, description="Of the whole picture, in pixels")
    height: int = 0


class PathStep(Model):
    """One edge of the graph path that admitted a hit, read from the product outwards."""

    source: str = Field(description="Product id or entity key")
    relation: str = Field(
        description="MADE_BY, IN_CATEGORY, HAS_ENTITY, CHILD_OF, SIMILAR_TO; ASKED from an entity to words of the text"
    )
    target: str = Field(description="Entity key, or the words of ASKED")
    weight: float | None = None
    origin: str = Field(
        default="",
        description="What a SIMILAR_TO edge was made from (text, cooccurrence, visual), or how the words led to the "
        "entity (mention, words, vector)",
    )


class FoundEntity(Model):
    """An entity that a text means."""

    key: str = Field(description="`type:normalised text`: goes into the filters `entity` and `near`")
    text: str
    type: str
    df: int = Field(default=0, description="Products that have it")
    score: float = Field(description="1 where it is named; else the share of its words, or the cosine")
    how: Literal["mention", "words", "vector"] = Field(
        description="Named as it is, by most of its words, or near to the text by its vector"
    )
    words: str = Field(default="", description="Of the text, that led to it")


class Hit(Model):
    rank: int = Field(description="From 1")
    score: float = Field(description="Fused; the order of the hits, but for rules and diversity")
    product: ProductCard
    offer: Offer | None = Field(default=None, description="Cheapest offer of the same product in the same currency")
    offers: int = Field(default=0, description="Listings of the same product that have a price, this one included")
    rule: str | None = Field(default=None, description="Id of the rule that put it here")
    match: Match | None = Field(default=None, description="None for a lexical hit and for a listing by filter")
    scores: dict[str, float] = Field(
        default={}, description="Score in each list: cosine; BM25 for `lexical`; gain for `graph`"
    )
    ranks: dict[str, int] = Field(default={}, description="Rank in each list, from 1")
    reason: str = Field(default="", description="Why it is here, in words")
    path: tuple[PathStep, ...] = Field(
        default=(), description="Graph path that admitted it; empty where the graph had no say"
    )


class PlanCost(Model):
    """One way to make the vector lists, and what it would cost here."""

    plan: VectorPlan
    estimated_ms: float = Field(description="By the cost model, for all vector lists of this search")
    refused: str = Field(default="", description="Why it may not be taken, empty where it may")


class PlanReport(Model):
    """Why the plan was chosen (`explain`)."""

    why: str
    candidates: int | None = Field(default=None, description="Products inside the filters, where it was counted")
    candidates_exact: bool = Field(default=True, description="False: there are at least `candidates`")
    expression: str = Field(default="", description="What the vector store was asked, where the plan is `attribute`")
    lists: tuple[str, ...] = ()
    alternatives: tuple[PlanCost, ...] = Field(default=(), description="Every plan, the cheapest first")
    actual_ms: float | None = Field(default=None, description="What choosing and the vector lists took")


class SearchReply(Model):
    requested: int
    returned: int
    plan: PlanName
    exact: bool = Field(description="True: no approximate index had a say")
    generation: str | None = Field(description="Id of the generation searched; none where no vector was needed")
    stale: int = Field(description="Changes of the catalogue that this generation has not embedded yet")
    timings_ms: dict[str, float]
    hits: tuple[Hit, ...]
    entities: tuple[FoundEntity, ...] = Field(
        default=(), description="Meant by the text, where the graph was asked for"
    )
    notes: tuple[str, ...] = Field(default=(), description="What one should know, such as a brand that does not exist")
    explanation: PlanReport | None = None


class Facet(Model):
    """One value to narrow by; `key` goes into the filter of the same name."""

    key: str
    text: str
    count: int


class Facets(Model):
    """Products inside the filters, by brand and by category (a category counts what is below it too)."""

    total: int
    brand: tuple[Facet, ...]
    category: tuple[Facet, ...]
