"""`skugraph offers` and `skugraph calibrate-offers`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say, table

__all__ = ["calibrate_offers", "offers"]


def offers(
    id: Annotated[str, typer.Argument(metavar="ID", help="Any listing of the product")],
    by: Annotated[str, typer.Option("--by", help="price or unit_price: the order inside one currency")] = "price",
    limit: Annotated[int, typer.Option("--limit", help="Offers wanted")] = 100,
    found: Annotated[
        bool, typer.Option("--found/--certain", help="Also listings that nothing but their vectors joins")
    ] = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare prices: who sells the very same product, and what 100 ml, 100 g or a piece costs.

    Certain offers are listings that state the same identity. Others are found by their vectors, from the score on that
    `skugraph calibrate-offers` chose. Currencies are compared where the setting `currency_rates` has both.

    Example: `skugraph offers sku-1 --by unit_price`
    """
    from api.offers import compare
    from kg.stores import open_stores

    with open_stores(open_settings(home, filled=True)) as stores:
        reply = compare(stores, id, by=by, limit=limit, found=found)  # type: ignore[arg-type]  # it checks

    def page() -> None:
        rows = [
            (
                offer.price,
                offer.currency,
                f"{offer.unit_price.value:g} / {offer.unit_price.per}" if offer.unit_price else "",
                offer.seller,
                offer.how if offer.score is None else f"found, {offer.score:.3f}",
                offer.title,
                offer.product_id,
            )
            for offer in reply.offers
        ]
        if rows:
            table(("price", "currency", "unit price", "seller", "how", "title", "id"), rows)
        else:
            say("no listing of this product has a price")
        if known := reply.calibration:
            say(f"found ones: {known.precision:.1%} of those from score {known.score:.3f} on are right", style="dim")
        for note in reply.notes:
            say(f"note: {note}", style="yellow")

    emit(reply.model_dump(mode="json"), as_json, page)


def calibrate_offers(
    precision: Annotated[float, typer.Option("--precision", help="Share of found offers that has to be right")] = 0.95,
    limit: Annotated[int, typer.Option("--limit", help="Listings of validation that are asked for, at most")] = 2000,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose from which score on listings count as offers of the same product, for the live generation.

    The listings that state an `identity` are the truth: those of the validation split are asked for, and the smallest
    score is taken at which the lower bound of the precision (95 %) reaches the goal. Again after each promotion.

    Example: `skugraph calibrate-offers --precision 0.95`
    """
    from api.calibration import calibrate
    from kg.stores import open_stores

    with open_stores(open_settings(home, filled=True)) as stores, progress(quiet=as_json) as bar:
        found, refused = calibrate(
            stores, precision, limit=limit, progress=lambda done, total: bar("listings", done, total)
        )
    document: dict[str, Any] = {**asdict(found), "refused": refused}

    def page() -> None:
        say(f"generation {found.generation}: the same product from score {found.score:.4f} on ({found.way})")
        say(
            f"precision {found.precision:.1%} (at least {found.bound:.1%}), recall {found.recall:.1%}: "
            f"{found.right} of {found.pairs} pairs right, {found.identities} products"
        )
        for way, why in refused.items():
            say(f"not by {way}: {why}", style="dim")

    emit(document, as_json, page)
