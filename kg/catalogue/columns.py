"""How the columns of a table become a `Product`: a TOML file in four parts.

    [fields]                      # field of the product = column, or columns
    id = "sku"
    title = ["name", "variant"]   # joined by a space
    category = ["cat1", "cat2"]   # from the root down
    pictures = "image"
    [attributes]                  # type of the attribute = column, or columns
    colour = "colour"
    [defaults]                    # for what a row leaves empty
    seller = "my-shop"
    [separators]                  # where one cell holds several values; a JSON array always does
    colour = ","

A box is `x1 y1 x2 y2` in pixels of the upright picture; the boxes of several pictures follow their order, an empty one
being the whole picture. A cell that is empty or white space is missing.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kg.catalogue import guessing
from kg.errors import BadColumnMap, BadRecord, first_refusal
from kg.records import Product, normalise

__all__ = ["FIELDS", "ColumnMap"]

LISTS = ("category", "pictures", "boxes")
FIELDS = (
    "id",
    "title",
    "description",
    "url",
    "seller",
    "price",
    "currency",
    "identity",
    "updated_at",
    "brand",
    *LISTS,
)
READY = Path(__file__).parent / "maps"

# Longest stored form in bytes of UTF-8: the widths of the vector schema, and what an index of either graph accepts.
WIDTHS = {"id": 128, "seller": 256, "identity": 256, "brand": 256, "category": 512, "attribute": 256}
GROUPED = re.compile(r"^\d{1,3}(,\d{3})+(\.\d*)?$")
PLAIN = re.compile(r"[0-9]+(\.[0-9]*)?")  # what most prices are
SYMBOLS = {"€": "EUR", "£": "GBP", "$": "USD"}
Columns = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class ColumnMap(BaseModel):
    """A checked map; `record` applies it to one row.

    Raises:
        BadColumnMap: (from `load`, `parse`, `check`, `guess`) an unknown part, field or column, naming the nearest
            known one; no id; neither title nor picture.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: dict[str, Columns]
    attributes: dict[str, Columns] = Field(default_factory=dict)
    defaults: dict[str, str] = Field(default_factory=dict)
    separators: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> ColumnMap:
        _each_in(self.fields, FIELDS, "field")
        taken = [name for name in self.attributes if normalise(name) in FIELDS]
        if taken:
            raise BadColumnMap(f"attribute {taken[0]!r} has the name of a field", hint="put it under [fields]")
        _each_in(self.defaults, [*FIELDS, *self.attributes], "default")
        _each_in(self.separators, [*LISTS, "decimal", *self.attributes], "separator")
        if "id" not in self.fields:
            raise BadColumnMap("the map names no column for the id", hint='write id = "COLUMN" under [fields]')
        if not {"title", "pictures"} & set(self.fields):
            raise BadColumnMap("the map names neither a title nor a picture column")
        if self.separators.get("decimal", ".") not in (".", ","):
            raise BadColumnMap(f"separators.decimal = {self.separators['decimal']!r}: '.' or ','")
        return self

    @classmethod
    def load(cls, path: Path | str) -> ColumnMap:
        """A map from a TOML file, or a ready-made one by its name (`fashion9k`)."""
        file = Path(path)
        if not file.is_file() and (READY / f"{path}.toml").is_file():
            file = READY / f"{path}.toml"
        if not file.is_file():
            names = ", ".join(sorted(ready.stem for ready in READY.glob("*.toml")))
            raise BadColumnMap(f"no column map at {path}", hint=f"ready-made are {names}")
        try:
            return cls.parse(tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadColumnMap(f"{file} is not valid TOML: {error}") from error
        except BadColumnMap as error:
            raise BadColumnMap(f"{file}: {error.message}", hint=error.hint, **error.detail) from error

    @classmethod
    def parse(cls, parts: Mapping[str, Any]) -> ColumnMap:
        """A map from the parts of its TOML."""
        _each_in(parts, list(cls.model_fields), "part")
        try:
            return cls.model_validate(parts)
        except ValidationError as error:
            where, refused = first_refusal(error)
            raise BadColumnMap(refused, field=where) from error

    @classmethod
    def guess(cls, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> ColumnMap:
        """A map from column names and sample rows (some hundred are plenty), to be shown and edited."""
        return cls.parse(guessing.guess(columns, rows))

    def to_toml(self) -> str:
        """The map as its TOML file; `load` reads it back to an equal map."""
        parts: dict[str, dict[str, Any]] = self.model_dump()
        for part in ("fields", "attributes"):
            parts[part] = {
                name: list(columns) if len(columns) > 1 else columns[0] for name, columns in parts[part].items()
            }
        return tomlkit.dumps({name: part for name, part in parts.items() if part})

    def check(self, columns: Iterable[str]) -> None:
        """Hold the map against the columns of a table.

        Raises:
            BadColumnMap: the map names a column that the table lacks.
        """
        named = [*self.fields.values(), *self.attributes.values()]
        _each_in([column for group in named for column in group], list(columns), "column")

    def record(self, row: Mapping[str, str]) -> Product:
        """The product of one row. Its pictures carry the reference as the table writes it, for `Pictures.locate`.

        Raises:
            BadRecord: the first field that breaks a rule, with its value.
        """
        values: dict[str, Any] = {name: self._text(name, row) for name in FIELDS if name not in (*LISTS, "price")}
        if not values["id"]:
            raise BadRecord("id", "", "every row needs an id")
        price = self._text("price", row)
        values["price"], currency = _price(price, self.separators.get("decimal", ".")) if price else (None, "")
        values["currency"] = values["currency"].upper() or currency
        values["updated_at"] = values["updated_at"] or None
        values["category"] = self._list("category", row, ">")
        values["attributes"] = [(kind, value) for kind in self.attributes for value in self._list(kind, row, None)]
        values["pictures"] = self._pictures(row)
        if not values["title"] and not values["pictures"]:
            raise BadRecord("title", "", "a row needs a title or a picture")
        try:
            product = Product.model_validate(values)
            entities = product.entities()
        except ValidationError as error:
            first = error.errors()[0]
            raise BadRecord(_field(first["loc"], values), first.get("input"), first["msg"]) from error
        for name in ("id", "seller", "identity"):
            _fits(name, getattr(product, name), WIDTHS[name])
        for entity, _ in entities:
            kind = entity.type if entity.type in WIDTHS else "attribute"
            _fits(entity.type, entity.key, WIDTHS[kind])
        return product

    def id_of(self, row: Mapping[str, str]) -> str:
        """The id that a row states, or nothing; also of a row that `record` refuses."""
        return self._text("id", row)

    def _text(self, name: str, row: Mapping[str, str]) -> str:
        columns = self.fields.get(name, ())
        if len(columns) == 1:  # as in most maps, and ten times a row
            return (row.get(columns[0]) or "").strip() or self.defaults.get(name, "")
        cells = [(row.get(column) or "").strip() for column in columns]
        return " ".join(filter(None, cells)) or self.defaults.get(name, "")

    def _cells(self, name: str, row: Mapping[str, str], separator: str | None) -> list[str]:
        columns = self.fields.get(name) or self.attributes.get(name, ())
        separator = self.separators.get(name, separator)
        cells = [part for column in columns for part in _split((row.get(column) or "").strip(), separator)]
        return cells if any(cells) else _split(self.defaults.get(name, ""), separator)

    def _list(self, name: str, row: Mapping[str, str], separator: str | None) -> list[str]:
        cells = [cell for cell in self._cells(name, row, separator) if cell]
        if name == "category":
            return cells
        once: dict[str, str] = {}  # "Box, box" is one value, as first written
        for cell in cells:
            once.setdefault(normalise(cell), cell)
        return list(once.values())

    def _pictures(self, row: Mapping[str, str]) -> list[dict[str, Any]]:
        if not (self.fields.keys() | self.defaults.keys()) & {"pictures", "boxes"}:
            return []
        references, boxes = self._cells("pictures", row, "|"), self._cells("boxes", row, "|")
        pairs = list(zip_longest(references, boxes, fillvalue=""))
        if any(box and not reference for reference, box in pairs):
            raise BadRecord("boxes", boxes, "a box without its picture")
        return [{"uri": reference, "box": _box(box) if box else None} for reference, box in pairs if reference]


def _field(place: tuple[int | str, ...], values: Mapping[str, Any]) -> str:
    """The field of the map that gave the value at this place of a product."""
    if place[:1] == ("attributes",):
        return str(values["attributes"][place[1]][0])
    return "boxes" if "box" in place else str(place[0]) if place else "row"


def _each_in(names: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"the nearest is {near[0]!r}" if near else f"known are {', '.join(known)}"
            raise BadColumnMap(f"unknown {what} {name!r}", hint=hint, field=name, nearest=near[0] if near else None)


def _split(cell: str, separator: str | None) -> list[str]:
    """The values of one cell: a JSON array, or what the separator parts; boxes inside an array stay arrays."""
    if cell.startswith("[") and cell.endswith("]"):
        try:
            values = json.loads(cell)
        except json.JSONDecodeError:
            values = None
        if isinstance(values, list) and not all(isinstance(value, int | float) for value in values):
            return [value.strip() if isinstance(value, str) else json.dumps(value) for value in values if value]
    return [part.strip() for part in cell.split(separator)] if separator else [cell]


def _box(text: str) -> list[float]:
    numbers = re.split(r"[\s,;]+", text.strip("[]() "))
    try:
        box = [float(number) for number in numbers]
    except ValueError:
        box = []
    if len(box) != 4:
        raise BadRecord("boxes", text, "a box is four numbers, x1 y1 x2 y2 in pixels")
    return box


def _price(text: str, decimal: str) -> tuple[float, str]:
    """A price with or without a currency: `1,299.00`, `€ 12.50`, `12.50 EUR`; with decimal "," the commas and points
    change places."""
    if decimal == "." and PLAIN.fullmatch(text):
        return float(text), ""
    currency = next((code for symbol, code in SYMBOLS.items() if symbol in text), "")
    stated = re.search(r"\b[A-Z]{3}\b", text)
    currency = stated.group() if stated else currency
    bare = re.sub(r"[€£$¥\s'\u2019]|\b[A-Z]{3}\b", "", text)
    if decimal == ",":
        bare = bare.translate(str.maketrans(",.", ".,"))
    if GROUPED.match(bare):
        bare = bare.replace(",", "")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", bare):
        raise BadRecord("price", text, f"not a number with the decimal separator {decimal!r} (separators.decimal)")
    return float(bare), currency


def _fits(field: str, value: str, width: int) -> None:
    if len(value.encode()) > width:
        raise BadRecord(field, value, f"longer than {width} bytes of UTF-8 as it is stored ({len(value.encode())})")
