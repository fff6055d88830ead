"""What a catalogue row becomes: the one validated form between readers, graph and workers."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

__all__ = [
    "Box",
    "Entity",
    "EntityType",
    "Picture",
    "Product",
    "caption",
    "content_hash",
    "entity_key",
    "normalise",
]

Key = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128, pattern=r"^[^\x00-\x1f#]+$")
]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=10_000)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


def _ordered(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not (all(map(math.isfinite, box)) and 0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
        raise ValueError("a box is x1, y1, x2, y2 in pixels with 0 <= x1 < x2 and 0 <= y1 < y2")
    return box


Box = Annotated[tuple[float, float, float, float], AfterValidator(_ordered)]  # x1, y1, x2, y2 in pixels
EntityType = Literal["brand", "category"] | str  # any other type is an attribute: "colour", "material", "phrase", …


def normalise(text: str) -> str:
    """NFKC, case-folded, inner white space collapsed: what makes two spellings one entity."""
    return _known(text) if len(text) <= 200 else _normalised(text)


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


_known = lru_cache(maxsize=8192)(_normalised)  # names are asked for in every row, several times; captions once


def entity_key(kind: str, text: str) -> str:
    """Business key of an entity, `type:normalised text`; for a category the text is the path joined by ` > `."""
    return f"{normalise(kind)}:{normalise(text)}"


def caption(title: str | None, description: str | None) -> str:
    """What the text encoders read of a listing, in training as in the gallery."""
    return ". ".join(filter(None, (title, description)))


def content_hash(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entity(_Record):
    """A brand, category, attribute value or phrase."""

    type: Name
    text: Name  # as first written; a category's text is its own name, `path` the whole way from the root
    path: tuple[Name, ...] = ()

    @cached_property
    def key(self) -> str:
        return entity_key(self.type, " > ".join(self.path) if self.path else self.text)


class Picture(_Record):
    """One occurrence of the product in one picture."""

    uri: Annotated[str, StringConstraints(min_length=1, max_length=2000)]  # file:///…, zip:///a.zip!member, http(s)://…
    box: Box | None = None  # None: the whole picture
    sha256: str = ""  # of the file's bytes, filled by the ingest
    width: int = 0  # pixels, filled by the ingest
    height: int = 0


class Product(_Record):
    """A listing: one seller's offer of one product.

    `identity` joins the listings of the very same product (a GTIN, an article number): they become SAME_AS.
    """

    id: Key
    title: Text
    description: Text = ""
    url: str = ""
    seller: str = ""
    price: float | None = Field(None, ge=0, le=1e12, allow_inf_nan=False)
    currency: Annotated[str, StringConstraints(to_upper=True, pattern=r"^([A-Z]{3})?$")] = ""
    identity: str = ""
    updated_at: datetime | None = None
    brand: Annotated[str, StringConstraints(max_length=200)] = ""
    category: tuple[Name, ...] = ()  # from the root down
    attributes: tuple[tuple[str, Annotated[str, StringConstraints(max_length=200)]], ...] = ()  # (type, value)
    pictures: tuple[Picture, ...] = ()

    @field_validator("updated_at")
    @classmethod
    def _zoned(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        try:
            value.astimezone(UTC)
        except OverflowError as error:  # a graph takes it, and its driver then cannot read it
            raise ValueError("lies outside of the years 1 to 9999 in UTC") from error
        return value

    @property
    def text(self) -> str:
        """See `caption`."""
        return caption(self.title, self.description)

    @property
    def hash(self) -> str:
        """Changes when anything about the listing or its pictures' bytes changes; where a picture lies does not count
        once its bytes are known."""
        value = self.model_dump(mode="json")
        for picture in value["pictures"]:
            if picture["sha256"]:
                picture["uri"] = ""
        return content_hash(value)

    def entities(self) -> tuple[tuple[Entity, str], ...]:
        """Entities that the fields state, each with its source ("field")."""
        found = [_stated("brand", self.brand)] if self.brand else []
        if self.category:
            found.append(_stated("category", self.category[-1], self.category))
        found += [_stated(kind, value) for kind, value in self.attributes if value]
        return tuple((entity, "field") for entity in found)


@lru_cache(maxsize=8192)  # the same few brands, leaves and values come in every row
def _stated(kind: str, text: str, path: tuple[str, ...] = ()) -> Entity:
    return Entity(type=kind, text=text, path=path)
