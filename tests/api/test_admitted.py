"""Which leaf of the filters admitted a hit, in words and as a path."""

from __future__ import annotations

from typing import Any

import pytest

from api import admitted
from kg.conditions import All, AnyOf, Condition, Leaf, Not, Reach
from kg.graph.selection import Selection

CARD: dict[str, Any] = {
    "id": "p1",
    "seller": "Corner Shop",
    "price": 15.0,
    "currency": "EUR",
    "updated_at": "2026-03-01T00:00:00Z",
    "links": [
        {"relation": "MADE_BY", "weight": None, "key": "brand:aurora", "text": "Aurora", "path": None},
        {"relation": "IN_CATEGORY", "weight": None, "key": "category:home > candles", "text": "Candles", "path": None},
        {"relation": "HAS_ENTITY", "weight": 0.5, "key": "colour:honey", "text": "honey", "path": None},
    ],
}
TEXTS = {"brand:aurora": "Aurora", "brand:nordlys": "Nordlys", "category:home": "Home", "colour:ivory": "ivory",
         "category:home > candles": "Candles", "colour:honey": "honey", "colour:amber": "amber"}  # fmt: skip
ABOVE = {"category:home > candles": "category:home"}
AMBER = {"colour:amber": Reach(None, 1.0, 1.0), "colour:honey": Reach("colour:amber", 0.82, 0.82)}

AURORA, NORDLYS = Leaf("brands", ["brand:aurora"]), Leaf("brands", ["brand:nordlys"])
BRANDS = Leaf("brands", ["brand:aurora", "brand:nordlys"])
HOME = Leaf("categories", ["category:home", "category:home > candles"])
NEAR = Leaf("near", ["colour:amber", "colour:honey"], reach=AMBER)
IVORY = Leaf("entities", ["colour:ivory"])
CHEAP, DEAR = Leaf("max_price", 20.0), Leaf("min_price", 100.0)
NEW, OLD = Leaf("updated_since", "2026-02-01T00:00:00+00:00"), Leaf("updated_since", "2026-03-01T00:00:00+00:00")
LATER = Leaf("updated_since", "2026-03-01T00:00:01+00:00")
SHOP, OTHER = Leaf("sellers", ["Corner Shop"]), Leaf("sellers", ["Licht & Co"])
THIS, THAT = Leaf("pattern", ["p1"]), Leaf("pattern", ["p2"])


def reasons(condition: Condition, **card: Any) -> str:
    selection = Selection(more=(condition,), texts=TEXTS, above=ABOVE)
    hit = {**CARD, **card}
    linked, _ = admitted.links(hit, hit["links"], selection)
    return "; ".join(linked + admitted.fields(hit, hit["links"], selection))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (AURORA, "brand Aurora"),
        (AnyOf((NORDLYS, HOME)), "category Candles (below Home)"),
        (AnyOf((NORDLYS, HOME, CHEAP)), "category Candles (below Home); price 15.00 EUR"),
        (AnyOf((All((AURORA, DEAR)), All((SHOP, NEW)))), "seller Corner Shop; updated 2026-03-01"),
        (AnyOf((LATER, OLD)), "updated 2026-03-01"),
        (Not(NORDLYS), "not brand Nordlys"),
        (Not(AnyOf((NORDLYS, IVORY, DEAR))), "not brand Nordlys; not entity ivory; price 15.00 EUR"),
        (Not(All((AURORA, DEAR))), "price 15.00 EUR"),
        (Not(Not(AURORA)), "brand Aurora"),
        (AnyOf((All((AURORA, NORDLYS)), Not(OTHER))), "seller Corner Shop"),
        (AnyOf((THIS, NORDLYS)), "in the Cypher pattern"),
        (All((Not(THAT), AURORA)), "brand Aurora; not in the Cypher pattern"),
        (AnyOf((NEAR, IVORY)), "entity 'amber' —0.82→ 'honey'"),
        (All((AURORA, AnyOf((AURORA, DEAR)))), "brand Aurora"),
    ],
)
def test_the_leaves_that_decide_are_told(condition: Condition, said: str) -> None:
    assert reasons(condition) == said


def test_what_a_hit_is_not_is_told_by_what_was_asked() -> None:
    bare = {"links": [], "price": None, "seller": None, "updated_at": None}
    assert reasons(Not(HOME), **bare) == "not category Home"
    assert reasons(Not(NEAR), **bare) == "not entity amber"
    assert reasons(Not(BRANDS), **bare) == "not brand Aurora, Nordlys"
    assert reasons(Not(AnyOf((CHEAP, SHOP, NEW))), **bare) == "no price; no seller; no date"


def test_the_path_leads_to_what_admitted() -> None:
    selection = Selection(more=(AnyOf((NORDLYS, NEAR)), Not(IVORY)), texts=TEXTS, above=ABOVE)
    _, steps = admitted.links(CARD, CARD["links"], selection)
    assert [(step.source, step.relation, step.target, step.weight) for step in steps] == [
        ("p1", "HAS_ENTITY", "colour:honey", 0.5),
        ("colour:honey", "SIMILAR_TO", "colour:amber", 0.82),
    ]
