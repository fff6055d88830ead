"""What a price comparison gives: the one contract of REST and command line."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.models import Model, Offer

__all__ = ["CalibrationReport", "How", "OffersReply", "PackSize", "PricePer", "PricedOffer", "SortBy"]

How = Literal["certain", "found"]
SortBy = Literal["price", "unit_price"]


class PackSize(Model):
    """What the listing's pack holds in all, where title or attributes say so without doubt."""

    amount: float
    unit: Literal["ml", "g", "piece"]


class PricePer(Model):
    """A price for a stated amount."""

    value: float
    per: str = Field(description="`100 ml`, `100 g` or `piece`")
    currency: str


class PricedOffer(Offer):
    """One seller's price of the very same product."""

    title: str = ""
    how: How = Field(description="`certain`: the listings say so themselves (SAME_AS); `found`: by their vectors")
    score: float | None = Field(default=None, description="Of a found one: how near it is, by the calibrated way")
    precision: float | None = Field(
        default=None, description="Of a found one: share that is right among all found from the calibrated score on"
    )
    pack: PackSize | None = None
    unit_price: PricePer | None = Field(default=None, description="None where the pack size is not known")
    converted: float | None = Field(
        default=None, description="Price in the reply's `currency`, by the setting `currency_rates`"
    )


class CalibrationReport(Model):
    """What found offers rest on: `skugraph calibrate-offers`."""

    generation: str
    way: str = Field(description="Vectors that are compared: `image`, `text`, `fused`, or `image+text` (their mean)")
    score: float = Field(description="From this score on a listing counts as the same product")
    goal: float = Field(description="Precision that was asked for")
    precision: float = Field(description="Seen on validation")
    bound: float = Field(description="What it is at least, at 95 %")
    recall: float = Field(description="Share of the right pairs that reach the score")
    pairs: int
    right: int
    identities: int
    at: str


class OffersReply(Model):
    offers: tuple[PricedOffer, ...] = Field(
        description="Cheapest first, or by unit price; in groups of one currency, the product's own first, where no "
        "rate joins them. Listings without a price are left out"
    )
    currency: str = Field(default="", description="Of the first group, into which the others are converted")
    by: SortBy = "price"
    calibration: CalibrationReport | None = Field(default=None, description="None: only certain offers are shown")
    notes: tuple[str, ...] = Field(default=(), description="What one should know, such as why nothing is sought")
