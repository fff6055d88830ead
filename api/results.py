"""Ranked ids into results: the listing, its best offer, the instance that matched, the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.around import Around
from api.explain import explained
from api.fusion import Fused
from api.models import Hit, Match, Offer, ProductCard
from kg.graph.cypher.hits import LISTINGS
from kg.graph.driver import Graph
from kg.graph.selection import Selection
from kg.regions import split_region
from kg.settings import InstanceKind

__all__ = ["Listings", "hits", "listings"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Listings:
    """What results show of products, by product id: the card (those the graph still holds), pictures, offers."""

    cards: Mapping[str, Row]
    pictures: Mapping[str, Sequence[Row]]
    offers: Mapping[str, Sequence[Row]]

    def identity(self, id: str) -> str:
        """One id for all listings of the very same product, as far as they are sold in one currency."""
        card, offers = self.cards.get(id), self.offers.get(id, ())
        cheapest = _best(card, offers) if card else None
        return cheapest.product_id if cheapest else id

    def joined(self, more: Listings) -> Listings:
        """These and more."""
        return Listings(
            {**self.cards, **more.cards}, {**self.pictures, **more.pictures}, {**self.offers, **more.offers}
        )


def listings(graph: Graph, ids: Sequence[str]) -> Listings:
    """Read once, whatever number of lists the products stand in."""
    rows = graph.read(LISTINGS, ids=list(dict.fromkeys(ids))) if ids else []
    return Listings(
        {row["id"]: {**row, "links": _there(row["links"], "key")} for row in rows},
        {row["id"]: _there(row["pictures"], "instance_id") for row in rows},
        {
            row["id"]: list({one["product_id"]: one for one in _there(row["offers"], "product_id")}.values())
            for row in rows
        },
    )


def hits(
    there: Listings,
    found: Sequence[Fused],
    matches: Mapping[str, tuple[str, InstanceKind]],
    selection: Selection,
    *,
    text: str = "",
    like: str | None = None,
    seen: Around | None = None,
) -> list[Hit]:
    """One hit for each found product that the graph still holds, in their order.

    Args:
        there: of these products at least.
        found: products with their scores and ranks.
        matches: product → instance that matched best, and the kind of its vector.
        selection: what the filters mean in the graph, for the reasons.
        text: what was asked, for the reasons.
        like: the example product.
        seen: entities that the text means and those around them, for the reasons.
    """
    made: list[Hit] = []
    for item in found:
        if (card := there.cards.get(item.product_id)) is None:
            continue
        shown = sorted(there.pictures.get(item.product_id, ()), key=_number)
        reason, path = explained(card, item.scores, selection, text=text, like=like, seen=seen)
        made.append(
            Hit(
                rank=len(made) + 1,
                score=item.score,
                product=_card(card, shown),
                offer=_best(card, there.offers.get(item.product_id, ())),
                offers=len(there.offers.get(item.product_id, ())),
                match=_match(*matches[item.product_id], shown) if item.product_id in matches else None,
                scores=item.scores,
                ranks=item.ranks,
                reason=reason,
                path=path,
            )
        )
    return made


def _there(maps: Sequence[Row], key: str) -> list[Row]:
    """Neo4j gives nulls of what another transaction removed after it was found."""
    return [row for row in maps if row[key] is not None]


def _number(row: Row) -> tuple[int, str]:
    """`#img10` after `#img9`."""
    return len(row["instance_id"]), row["instance_id"]


def _card(card: Row, pictures: Sequence[Row]) -> ProductCard:
    links = {link["relation"]: link for link in sorted(card["links"], key=lambda link: link["key"], reverse=True)}
    brand, category = links.get("MADE_BY"), links.get("IN_CATEGORY")
    return ProductCard(
        id=card["id"],
        title=card["title"] or "",
        url=card["url"] or "",
        seller=card["seller"] or "",
        price=card["price"],
        currency=card["currency"] or "",
        brand=brand["text"] if brand else "",
        category=tuple(category["path"] or ()) if category else (),
        picture=pictures[0]["uri"] if pictures else "",
    )


def most_frequent(currencies: Iterable[str]) -> str:
    """Of equals the first by name; empty where there are none."""
    counts = Counter(currencies)
    return min(counts, key=lambda currency: (-counts[currency], currency), default="")


def _best(card: Row, offers: Sequence[Row]) -> Offer | None:
    """The cheapest in the listing's currency; in the most frequent one where the listing has no price itself."""
    if not offers:
        return None
    often = most_frequent(row["currency"] or "" for row in offers)
    currency = often if card["price"] is None else card["currency"] or ""
    same = [row for row in offers if (row["currency"] or "") == currency]
    row = min(same, key=lambda row: (row["price"], row["product_id"]))
    return Offer(
        product_id=row["product_id"],
        seller=row["seller"] or "",
        price=row["price"],
        currency=row["currency"] or "",
        url=row["url"] or "",
    )


def _match(instance_id: str, kind: InstanceKind, pictures: Sequence[Row]) -> Match:
    """The picture of the instance and the box that matched: its own, or that of the region which its id names."""
    whole, region = split_region(instance_id)
    row = next((row for row in pictures if row["instance_id"] == whole), None)
    if row is None:
        return Match(instance_id=instance_id, kind=kind)
    box = region or row["box"]
    return Match(
        instance_id=instance_id,
        kind=kind,
        picture=row["uri"],
        box=tuple(box) if box else None,
        width=row["width"] or 0,
        height=row["height"] or 0,
    )
