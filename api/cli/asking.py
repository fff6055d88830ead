"""What the commands that ask share: the filter options, and how a hit is printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.common import say

__all__ = [
    "BrandOption",
    "CategoryOption",
    "CypherOption",
    "EntityOption",
    "FilterOption",
    "GraphOption",
    "HopsOption",
    "ImageOption",
    "MaxPriceOption",
    "MinPriceOption",
    "MinWeightOption",
    "NearOption",
    "SellerOption",
    "filters_of",
    "given",
    "print_hit",
    "read_image",
]

Many = list[str] | None

ImageOption = Annotated[Path | None, typer.Option("--image", metavar="FILE", help="What it looks like")]
BrandOption = Annotated[Many, typer.Option("--brand", help="Made by it; again for any of several")]
CategoryOption = Annotated[Many, typer.Option("--category", help="In it or below")]
EntityOption = Annotated[Many, typer.Option("--entity", help="Linked to it: `colour:green`, or plain text")]
NearOption = Annotated[Many, typer.Option("--near", metavar="ENTITY", help="Linked to it or to a similar one")]
GraphOption = Annotated[
    str | None,
    typer.Option(
        "--graph", metavar="MODE", help="Let the entities that the text means `narrow` or `widen` the search (or `off`)"
    ),
]
HopsOption = Annotated[int | None, typer.Option("--hops", help="How far from --near, in edges (default 1)")]
MinWeightOption = Annotated[float | None, typer.Option("--min-weight", help="Smallest weight of those edges")]
MinPriceOption = Annotated[float | None, typer.Option("--min-price", help="Lowest price")]
MaxPriceOption = Annotated[float | None, typer.Option("--max-price", help="Highest price")]
SellerOption = Annotated[Many, typer.Option("--seller", help="Offered by it")]
CypherOption = Annotated[
    str | None, typer.Option("--cypher", metavar="QUERY", help="Read-only Cypher that returns product ids")
]
FilterOption = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="JSON",
        help="Filters of which `all`, `any` or `not` hold filters, or @FILE with them; they pass beside the others",
    ),
]


def filters_of(options: Mapping[str, Any], tree: str | None) -> Any:
    """The filter options that were given, joined by *and* to those of --filter.

    Raises:
        BadFilter: --filter is not JSON.
        BadInput: its file cannot be read.
    """
    from kg.errors import BadFilter

    flat = given(options)
    if tree is None:
        return flat
    text = _text(Path(tree[1:])) if tree.startswith("@") else tree
    try:
        filters = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = """such as '{"any": [{"brand": "Aurora"}, {"not": {"max_price": 20}}]}'"""
        raise BadFilter(f"--filter {tree[:200]!r} is not JSON: {error}", hint=hint) from error
    return {**flat, "all": [filters]} if flat else filters


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value not in (None, [])}


def read_image(path: Path) -> bytes:
    """The bytes of --image.

    Raises:
        BadInput: it cannot be read.
    """
    from kg.errors import BadInput

    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"--image {path}: {error.strerror}") from error


def _text(path: Path) -> str:
    from kg.errors import BadInput

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--filter @{path}: {getattr(error, 'strerror', None) or error}") from error


def print_hit(hit: Any, *, explain: bool = False) -> None:
    """One result for people."""
    product, offer = hit.product, hit.offer
    price = "" if product.price is None else f"  {product.price:.2f} {product.currency}".rstrip()
    say(f"{hit.rank:3}. {product.title}{price}", style="bold")
    facts = (product.id, product.brand, " > ".join(product.category), product.seller)
    say(f"     {' · '.join(filter(None, facts))}")
    if offer and offer.product_id != product.id:
        say(f"     best offer {offer.price:.2f} {offer.currency} at {offer.seller} ({offer.product_id})")
    say(f"     {hit.reason}", style="dim")
    if explain:
        for step in hit.path:
            known = [f"{step.weight:.2f}" if step.weight is not None else "", step.origin]
            weight = f" ({' '.join(filter(None, known))})" if any(known) else ""
            say(f"     {step.source} -{step.relation}-> {step.target}{weight}", style="dim")
        for name, rank in hit.ranks.items():
            say(f"     {name}: rank {rank}, score {hit.scores[name]:.4f}", style="dim")
