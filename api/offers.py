"""Price comparison: every offer of the very same product, stated or found, with what 100 ml, 100 g or a piece costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from api.calibration import Calibration, calibrations
from api.lists import NO_GENERATION
from api.matching import near
from api.offer_models import CalibrationReport, OffersReply, PackSize, PricedOffer, PricePer, SortBy
from api.results import most_frequent
from kg.errors import BadInput, NotFound
from kg.graph.cypher.offers import OFFERS, SAME
from kg.stores import Stores
from kg.units import pack_of, unit_price
from kg.vectors import generations

__all__ = ["compare"]

CALIBRATE = "`skugraph calibrate-offers` chooses from which score on others are shown"
MAX_OFFERS = 1000


def compare(stores: Stores, id: str, *, by: SortBy = "price", limit: int = 100, found: bool = True) -> OffersReply:
    """Who sells the very same product, and for how much.

    Certain are the listings that are joined by SAME_AS. Beside them stand those whose vectors are as near as the
    calibration of the live generation asks, unless they state to be another product.

    Args:
        stores: both stores.
        id: of any listing of the product.
        by: order inside a group of one currency; by unit price, those without one come last.
        limit: offers wanted.
        found: also look for listings that nothing joins.

    Raises:
        NotFound: no product has this id.
        BadInput: `limit` or `by` out of range.
    """
    if not 1 <= limit <= MAX_OFFERS:
        raise BadInput(f"limit = {limit}: 1 to {MAX_OFFERS} offers", field="limit")
    if by not in ("price", "unit_price"):
        raise BadInput(f"by = {by!r}: offers are sorted by price or unit_price", field="by")
    certain = {row["id"] for row in stores.graph.read(SAME, id=id)}
    if not certain:
        raise NotFound(f"product {id!r} does not exist")
    calibration, scores, notes = _sought(stores, id) if found else (None, {}, [])
    rows = {row["id"]: row for row in stores.graph.read(OFFERS, ids=sorted(certain | set(scores)))}
    own = rows.get(id)
    if own is None:  # it went while it was being compared
        raise NotFound(f"product {id!r} does not exist")
    stated = {row["identity"] for row in rows.values() if row["id"] in certain and row["identity"]}
    offers = []
    for row in rows.values():
        sure = row["id"] in certain
        other = not sure and stated and row["identity"] and row["identity"] not in stated
        if row["price"] is not None and not other:
            score = None if sure else scores[row["id"]]
            offers.append(_offer(row, score, calibration.precision if calibration and not sure else None))
    currency = own["currency"] if own["price"] is not None else most_frequent(offer.currency for offer in offers)
    ordered = _ordered(offers, currency or "", own, by, stores.settings.currency_rates)
    if len(ordered) > limit:
        notes = [*notes, f"{len(ordered) - limit} more offers are beyond limit = {limit}"]
    return OffersReply(
        offers=tuple(ordered[:limit]),
        currency=currency or "",
        by=by,
        calibration=CalibrationReport(**asdict(calibration)) if calibration else None,
        notes=tuple(notes),
    )


def _sought(stores: Stores, id: str) -> tuple[Calibration | None, dict[str, float], list[str]]:
    """The calibration of the live generation, the listings it lets in, with their scores; or why there are none."""
    generation = generations.live(stores)
    if generation is None:
        return None, {}, [f"only certain offers: {NO_GENERATION}"]
    known = calibrations(stores.graph)
    if generation.id not in known:
        others = f" (there is a calibration of {', '.join(known)}: scores of other vectors)" if known else ""
        return None, {}, [f"only certain offers: generation {generation.id} is not calibrated{others}. {CALIBRATE}"]
    calibration = known[generation.id]
    scores = near(stores, generation, [id], [calibration.way])[calibration.way].get(id)
    if scores is None:
        return calibration, {}, [f"only certain offers: {id!r} has no {calibration.way} vectors"]
    stale = generations.stale(stores, generation)
    notes = [f"{stale} changes of the catalogue are not embedded yet: offers among them are not found"] if stale else []
    return calibration, {one: score for one, score in scores.items() if score >= calibration.score}, notes


def _offer(row: Mapping[str, Any], score: float | None, precision: float | None) -> PricedOffer:
    pack = pack_of(row["title"] or "", [text for text in row["attributes"] if text])
    costs = unit_price(row["price"], row["currency"] or "", pack)
    return PricedOffer(
        product_id=row["id"],
        seller=row["seller"] or "",
        price=row["price"],
        currency=row["currency"] or "",
        url=row["url"] or "",
        title=row["title"] or "",
        how="certain" if score is None else "found",
        score=None if score is None else round(score, 6),
        precision=None if precision is None else round(precision, 4),
        pack=PackSize(amount=pack.amount, unit=pack.dimension) if pack else None,
        unit_price=PricePer(value=costs.value, per=costs.per, currency=costs.currency) if costs else None,
    )


def _ordered(
    offers: Sequence[PricedOffer], currency: str, own: Mapping[str, Any], by: SortBy, rates: Mapping[str, float]
) -> list[PricedOffer]:
    """By price within what is comparable: one currency, or those that rates join; for unit prices also one unit."""
    first = pack_of(own["title"] or "", [text for text in own["attributes"] if text])
    keyed = []
    for offer in offers:
        rate = 1.0
        if offer.currency != currency and {offer.currency, currency} <= set(rates):
            rate = rates[offer.currency] / rates[currency]
            offer = offer.model_copy(update={"converted": round(offer.price * rate, 4)})
        joined = offer.currency == currency or offer.converted is not None
        group: tuple[Any, ...] = (not joined, "" if joined else offer.currency)
        if by == "unit_price":
            unit, costs = (offer.pack.unit, offer.unit_price.value) if offer.pack and offer.unit_price else ("", 0.0)
            group += (not unit, first is not None and unit != first.dimension, unit, costs * rate)
        keyed.append((group, offer.price * rate, offer.product_id, offer))
    return [offer for *_, offer in sorted(keyed, key=lambda entry: entry[:3])]
