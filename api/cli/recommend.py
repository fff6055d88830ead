"""`skugraph recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.asking import (
    BrandOption,
    CategoryOption,
    EntityOption,
    FilterOption,
    MaxPriceOption,
    MinPriceOption,
    SellerOption,
    filters_of,
    given,
    read_image,
)
from api.cli.common import HomeOption, JsonOption, emit, open_settings, say

__all__ = ["recommend"]


def recommend(
    like: Annotated[
        list[str] | None,
        typer.Option("--like", metavar="ID[=WEIGHT]", help="A product that was looked at; again for each of several"),
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="A picture with one or several products")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Products wanted in each list")] = 10,
    diversity: Annotated[
        float | None, typer.Option("--diversity", help="0: the nearest, to 1: the more different (default 0.2)")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Regions proposed, at most (default 12)")] = None,
    brand: BrandOption = None,
    category: CategoryOption = None,
    entity: EntityOption = None,
    min_price: MinPriceOption = None,
    max_price: MaxPriceOption = None,
    seller: SellerOption = None,
    filter: FilterOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend products: similar ones, and complementary ones by the graph, each with its reason.

    With --image for each product in the picture; with --like for all that was looked at together. Nothing of it is
    stored. Times of looking, with a half-life, go into the REST request: `POST /v1/recommendations`.

    Example: `skugraph recommend --like sku-1 --like sku-7=3 -k 5 --max-price 50`

    Example: `skugraph recommend --image room.jpg --diversity 0.4`
    """
    from api.client import ask_recommendations
    from api.recommendation_models import RecommendationsRequest

    filters = {
        "brand": brand, "category": category, "entity": entity, "min_price": min_price, "max_price": max_price,
        "seller": seller,
    }  # fmt: skip
    fields: dict[str, Any] = {"k": k, "filters": filters_of(filters, filter)} | given(
        {"diversity": diversity, "limit": limit}
    )
    if like:
        fields["viewed"] = [_viewed(one) for one in like]
    if image:
        fields["image"] = read_image(image)
    request = RecommendationsRequest.model_validate(fields)
    reply = ask_recommendations(open_settings(home, filled=True), request)
    emit(reply.model_dump(mode="json"), as_json, lambda: _print(reply))


def _viewed(text: str) -> dict[str, Any]:
    """`ID` or `ID=WEIGHT`; what follows the last = counts as a weight only if it is a number."""
    id, _, weight = text.rpartition("=")
    try:
        return {"id": id, "weight": float(weight)} if id else {"id": text}
    except ValueError:
        return {"id": text}


def _print(reply: Any) -> None:
    for instance in reply.instances:
        corners = ", ".join(f"{value:g}" for value in instance.box)
        name = f"{instance.product.title}  ({instance.product.id})" if instance.product else "nothing found"
        say(f"[{instance.number}] {corners}: {name}", style="bold cyan")
        _print_lists(instance)
    if not reply.instances:
        _print_lists(reply)
    for note in reply.notes:
        say(f"note: {note}", style="yellow")


def _print_lists(lists: Any) -> None:
    for name in ("similar", "complementary"):
        found = getattr(lists, name)
        say(f"{name}:" if found else f"{name}: none", style="bold")
        for one in found:
            price = "" if one.product.price is None else f"  {one.product.price:.2f} {one.product.currency}".rstrip()
            say(f"{one.rank:3}. {one.product.title}{price}  ({one.product.id})")
            say(f"     {one.reason}", style="dim")
