"""Ranked ids into results: the listing, its best offer, the instance that matched, the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from api.explain import explained
from api.fusion import Fused
from api.models import Hit, Match, Offer, ProductCard, SearchRequest
from kg.graph.cypher.hits import CARDS, OFFERS, PICTURES
from kg.graph.driver import Graph
from kg.graph.selection import Selection
from kg.settings import InstanceKind

__all__ = ["hydrated"]

Row = Mapping[str, Any]


def hydrated(
    graph: Graph,
    found: Sequence[Fused],
    matches: Mapping[str, tuple[str, InstanceKind]],
    request: SearchRequest,
    selection: Selection,
) -> list[Hit]:
    """One hit for each found product that the graph still holds, in their order.

    Args:
        graph: where the listings are.
        found: products with their scores and ranks.
        matches: product → instance that matched best, and the kind of its vector.
        request: what was asked, for the reasons.
        selection: what its filters mean in the graph.
    """
    ids = [item.product_id for item in found]
    cards = {row["id"]: row for row in graph.read(CARDS, ids=ids)}
    pictures = _grouped(graph.read(PICTURES, ids=ids), "product_id")
    offers = _grouped(graph.read(OFFERS, ids=ids), "id")
    hits: list[Hit] = []
    for item in found:
        if (card := cards.get(item.product_id)) is None:
            continue
        shown = sorted(pictures.get(item.product_id, ()), key=_number)
        reason, path = explained(card, item.scores, request, selection)
        hits.append(
            Hit(
                rank=len(hits) + 1,
                score=item.score,
                product=_card(card, shown),
                offer=_best(card, offers.get(item.product_id, ())),
                match=_match(*matches[item.product_id], shown) if item.product_id in matches else None,
                scores=item.scores,
                ranks=item.ranks,
                reason=reason,
                path=path,
            )
        )
    return hits


def _grouped(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def _number(row: Row) -> tuple[int, str]:
    """`#img10` after `#img9`."""
    return len(row["instance_id"]), row["instance_id"]


def _card(card: Row, pictures: Sequence[Row]) -> ProductCard:
    links = {link["relation"]: link for link in sorted(card["links"], key=lambda link: link["key"] or "", reverse=True)}
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


def _best(card: Row, offers: Sequence[Row]) -> Offer | None:
    """The cheapest in the listing's currency; in the most frequent one where the listing has no price itself."""
    if not offers:
        return None
    counts = Counter(row["currency"] or "" for row in offers)
    often = min(counts, key=lambda currency: (-counts[currency], currency))
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
    row = next((row for row in pictures if row["instance_id"] == instance_id), None)
    if row is None:
        return Match(instance_id=instance_id, kind=kind)
    return Match(
        instance_id=instance_id,
        kind=kind,
        picture=row["uri"],
        box=tuple(row["box"]) if row["box"] else None,
        width=row["width"] or 0,
        height=row["height"] or 0,
    )
