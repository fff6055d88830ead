"""A first column map from column names and sample values; the user is shown it and edits it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kg.errors import BadColumnMap

__all__ = ["guess"]

# Field = names it goes by, the likeliest first.
NAMES: dict[str, tuple[str, ...]] = {
    "id": (
        "id",
        "sku",
        "product_id",
        "item_id",
        "listing_id",
        "asin",
        "article_number",
        "article_no",
        "item_number",
        "item_no",
        "uniq_id",
        "code",
    ),
    "title": ("title", "name", "product_name", "product_title", "productdisplayname", "display_name", "caption"),
    "description": ("description", "product_description", "long_description", "body", "details", "text"),
    "url": ("url", "link", "product_url", "permalink"),
    "seller": ("seller", "shop", "merchant", "store", "retailer", "vendor"),
    "price": ("price", "sale_price", "current_price", "list_price", "unit_price", "amount", "price_amount"),
    "currency": ("currency", "currency_code", "price_currency"),
    "identity": ("identity", "gtin", "gtin13", "ean", "upc", "isbn", "barcode", "mpn", "item_group_id", "instance_id"),
    "updated_at": ("updated_at", "updated", "last_modified", "modified", "timestamp", "date"),
    "brand": ("brand", "brand_name", "manufacturer", "maker"),
    "category": ("category", "category_path", "categories", "google_product_category", "product_type", "department"),
    "pictures": (
        "pictures",
        "picture",
        "images",
        "image",
        "image_url",
        "image_link",
        "photo",
        "img",
        "file",
        "filename",
    ),
    "boxes": ("boxes", "box", "bboxes", "bbox", "bounding_box"),
}
LEVEL = re.compile(r"^(cat|category|level|l|masterc|subc)[a-z_]*?_?(\d)$")
PICTURE = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?|avif)(\?.*)?$", re.IGNORECASE)
ATTRIBUTES = ("color", "colour", "size", "material", "gender", "season", "style", "pattern", "usage", "scent", "type")


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The parts of a column map.

    Raises:
        BadColumnMap: nothing looks like an id, or neither a title nor a picture is there.
    """
    by_name = {re.sub(r"[^a-z0-9]+", "_", column.casefold()).strip("_"): column for column in reversed(columns)}
    values = {column: [row[column] for row in rows if row.get(column)] for column in columns}
    fields: dict[str, Any] = {}
    for field, names in NAMES.items():
        found = next((by_name[name] for name in names if name in by_name), None)
        if found is not None:
            fields[field] = found
    levels = sorted((int(m.group(2)), column) for name, column in by_name.items() if (m := LEVEL.match(name)))
    if "category" not in fields and levels:
        fields["category"] = [column for _, column in levels]
    if "pictures" not in fields:
        shown = [
            c for c in columns if values[c] and sum(map(bool, map(PICTURE.search, values[c]))) > len(values[c]) / 2
        ]
        fields |= {"pictures": shown[0]} if shown else {}
    if "id" not in fields:
        distinct = {column: len(set(values[column])) for column in columns}
        unique = [column for column in columns if rows and distinct[column] == len(rows)]
        nearly = [  # some rows may be bad
            column
            for column in columns
            if column not in _used(fields)
            and distinct[column] > 0.95 * len(rows)
            and not any(" " in value for value in values[column])
        ]
        if not (likely := unique or nearly):
            raise BadColumnMap(
                "no column looks like an id",
                hint=f"name one in a map of yours (docs/how-to/own-catalogue.md): {', '.join(columns)}",
            )
        fields["id"] = likely[0]
    if "title" not in fields:
        wordy = [
            c for c in columns if c not in _used(fields) and sum(v.count(" ") for v in values[c]) > 1.5 * len(rows)
        ]
        fields |= {"title": wordy[0]} if wordy else {}

    separators = {}
    if isinstance(category := fields.get("category"), str):
        for separator in (">", "|", "/"):
            if sum(separator in value for value in values[category]) > len(values[category]) / 2:
                separators["category"] = separator
                break
    rest = [column for column in columns if column not in _used(fields)]
    attributes = {_type(column): column for column in rest if _is_attribute(column, values[column])}
    fields = {name: fields[name] for name in NAMES if name in fields}
    return {"fields": fields, "attributes": attributes, "separators": separators}


def _used(fields: Mapping[str, Any]) -> set[str]:
    return {column for group in fields.values() for column in ([group] if isinstance(group, str) else group)}


def _type(column: str) -> str:
    return re.sub(r"[^\w]+", " ", column.replace("_", " ")).strip().casefold()


def _is_attribute(column: str, values: Sequence[str]) -> bool:
    """Short words that repeat: numbers, sentences and one-off values make no entities."""
    if not values or _type(column) in NAMES:
        return False
    short = all(len(value) <= 60 for value in values) and not any(PICTURE.search(value) for value in values)
    words = sum(any(letter.isalpha() for letter in value) for value in values) > len(values) / 2
    named = any(word in ATTRIBUTES for word in _type(column).split())
    return short and words and (named or len(set(values)) <= max(2, len(values) // 4))
