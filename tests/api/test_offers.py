"""Price comparison on both graph engines: certain and found offers, unit prices, currencies, calibration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, islice

import numpy as np
import pytest

from api.calibration import calibrate, calibrations
from api.matching import near
from api.offers import compare
from encoders.data import split_of
from kg.errors import BadInput, NotFound
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.generations import Generation

WRITE = """
UNWIND $rows AS row
MERGE (p:Product {id: row.id})
SET p.title = row.title, p.price = row.price, p.currency = row.currency, p.identity = row.identity, p.seller = row.id
"""
SAME = "MATCH (a:Product {id: $a}), (b:Product {id: $b}) MERGE (a)-[:SAME_AS]->(b)"
READY = "MATCH (g:Generation {id: $id}) SET g.state = 'shadow'"
DIM = 16


def names(split: str, number: int) -> list[str]:
    return list(islice((name for n in count() if split_of(name := f"gtin{n}") == split), number))


def listing(id: str, identity: str = "", **fields: object) -> dict[str, object]:
    return {"id": id, "title": id, "price": 10.0, "currency": "EUR", "identity": identity, **fields}


def live(stores: Stores, vectors: dict[str, dict[str, np.ndarray]], fingerprint: str = "f" * 12) -> Generation:
    """A live generation with these vectors: kind → product → vector."""
    generation = generations.register(
        stores, encoder="given", fingerprint=fingerprint, encoder_path="", dim=DIM, kinds=("image", "text")
    )
    for kind, name in generation.collections(stores.vectors.prefix).items():
        rows = [
            {"instance_id": f"{id}#{kind}", "product_id": id, "vector": vector.tolist()}
            for id, vector in vectors.get(kind, {}).items()
        ]
        if rows:
            stores.vectors.upsert(name, rows)
    stores.graph.write(READY, id=generation.id)
    return switching.promote(stores, generation.id)


def shop(stores: Stores, *, products: int = 60, noise: float = 0.05) -> Generation:
    """Products of validation and of training in two listings each; pictures tell them apart, texts do not."""
    draw = np.random.default_rng(5)
    rows, pictures, texts = [], {}, {}
    for identity in [*names("val", products), *names("train", 20), *names("test", 5)]:
        base = draw.standard_normal(DIM)
        for shop in "ab":
            id = f"{identity}{shop}"
            rows.append(listing(id, identity, price=10.0 + (shop == "b")))
            pictures[id] = base + noise * draw.standard_normal(DIM)
            texts[id] = draw.standard_normal(DIM)
    stores.graph.write(WRITE, rows=rows)
    return live(stores, {"image": pictures, "text": texts})


def test_a_product_that_goes_meanwhile_is_not_found(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def sought(stores: Stores, id: str) -> tuple[None, dict[str, float], list[str]]:
        stores.graph.write("MATCH (p:Product {id: $id}) DETACH DELETE p", id=id)
        return None, {}, []

    monkeypatch.setattr("api.offers._sought", sought)
    stores.graph.write(WRITE, rows=[listing("gone")])
    with pytest.raises(NotFound, match="product 'gone' does not exist"):
        compare(stores, "gone")


def test_calibration_reaches_the_precision_and_is_noted(stores: Stores) -> None:
    generation = shop(stores)
    told: list[tuple[int, int]] = []
    found, refused = calibrate(stores, 0.9, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (120, 120)
    assert (found.generation, found.way, found.goal) == (generation.id, "image", 0.9)
    assert found.bound >= 0.9
    assert found.precision >= found.bound
    assert (found.recall, found.right) == (1.0, 60)
    assert "text" in refused
    assert calibrations(stores.graph) == {generation.id: found}
    # Against plain counting over all pairs that may count.
    ids = [f"{identity}{shop}" for identity in (*names("val", 60), *names("train", 20)) for shop in "ab"]
    asked = near(stores, generation, ids, ["image"], depth=200)["image"]
    reach = {(min(a, b), max(a, b)) for a in ids[:120] for b, s in asked[a].items() if s >= found.score and b in ids}
    assert len(reach) == found.pairs
    assert sum(a[:-1] == b[:-1] for a, b in reach) == found.right


def test_found_offers_stand_beside_certain_ones(stores: Stores) -> None:
    generation = shop(stores)
    draw = np.random.default_rng(6)
    base, other = names("val", 2)
    [like] = [near(stores, generation, [f"{base}a"], ["image"])["image"][f"{base}a"]]
    assert max(like, key=lambda id: like[id]) == f"{base}b"
    collection = generation.collections(stores.vectors.prefix)["image"]
    [vector] = stores.vectors.fetch(collection, [f"{base}a"]).vectors
    for id, identity, price in (("new", "", 7.0), ("liar", other, 1.0), ("unpriced", "", None)):
        stores.graph.write(WRITE, rows=[listing(id, identity, price=price)])
        near_by = vector + 0.02 * draw.standard_normal(DIM)
        stores.vectors.upsert(collection, [{"instance_id": f"{id}#i", "product_id": id, "vector": near_by.tolist()}])
    stores.graph.write(SAME, a=f"{base}b", b=f"{base}a")

    before = compare(stores, f"{base}a")
    assert [(offer.product_id, offer.how) for offer in before.offers] == [
        (f"{base}a", "certain"),
        (f"{base}b", "certain"),
    ]
    assert before.calibration is None
    assert "is not calibrated. `skugraph calibrate-offers`" in before.notes[0]

    calibration, _ = calibrate(stores, 0.9)
    reply = compare(stores, f"{base}a")
    assert [offer.product_id for offer in reply.offers] == ["new", f"{base}a", f"{base}b"]
    first = reply.offers[0]
    assert (first.how, first.price) == ("found", 7.0)
    assert first.score is not None
    assert first.score >= calibration.score
    assert first.precision == round(calibration.precision, 4)
    assert reply.offers[1].score is None
    assert reply.calibration is not None
    assert reply.calibration.generation == generation.id
    assert [offer.how for offer in compare(stores, f"{base}a", found=False).offers] == ["certain", "certain"]


def test_a_threshold_belongs_to_one_generation(stores: Stores) -> None:
    first = shop(stores)
    calibrate(stores, 0.9)
    id = f"{names('val', 1)[0]}a"
    second = live(stores, {"image": {id: np.ones(DIM)}}, "e" * 12)
    reply = compare(stores, id)
    assert reply.calibration is None
    assert (
        f"generation {second.id} is not calibrated (there is a calibration of {first.id}: scores of other"
        in reply.notes[0]
    )
    switching.promote(stores, first.id)
    assert compare(stores, id).calibration is not None


def test_too_few_pairs_are_refused(stores: Stores) -> None:
    with pytest.raises(NotFound, match="no generation is live"):
        calibrate(stores, 0.9)
    shop(stores, products=10)
    with pytest.raises(BadInput, match="right pairs of 10 products of validation were found, and 25 products"):
        calibrate(stores, 0.9)
    with pytest.raises(BadInput, match="limit = 0"):
        calibrate(stores, 0.9, limit=0)
    assert calibrations(stores.graph) == {}


def test_without_a_generation_only_certain_offers(stores: Stores) -> None:
    stores.graph.write(WRITE, rows=[listing("a")])
    reply = compare(stores, "a")
    assert [offer.product_id for offer in reply.offers] == ["a"]
    assert reply.notes == ("only certain offers: no generation is live: there are no vectors to compare",)
    with pytest.raises(NotFound, match="product 'nobody' does not exist"):
        compare(stores, "nobody")
    with pytest.raises(BadInput, match="limit = 0"):
        compare(stores, "a", limit=0)


@pytest.fixture
def prices(stores: Stores) -> Callable[..., list[tuple[str, float | None]]]:
    """Oil in several packs and currencies, all the same product as `a`."""
    rows = [
        listing("a", title="Oil 500 ml", price=5.0),
        listing("b", title="Oil 2 x 500 ml", price=8.0),
        listing("c", title="Oil", price=4.0),
        listing("d", title="Oil 500 ml", price=3.0, currency="USD"),
        listing("e", title="Oil 500 g", price=1.0),
        listing("f", title="Oil 250 ml", price=1.0, currency="CHF"),
    ]
    stores.graph.write(WRITE, rows=rows)
    for row in rows[1:]:
        stores.graph.write(SAME, a=row["id"], b="a")

    def ask(rates: dict[str, float] | None = None, **options: object) -> list[tuple[str, float | None]]:
        settings = stores.settings.model_copy(update={"currency_rates": rates or {}})
        reply = compare(Stores(settings, stores.graph, stores.vectors_uri), "a", found=False, **options)  # type: ignore[arg-type]
        return [(o.product_id, o.unit_price.value if o.unit_price else None) for o in reply.offers]

    return ask


def test_order_by_price_and_by_unit_price(prices: Callable[..., list[tuple[str, float | None]]]) -> None:
    assert [id for id, _ in prices()] == ["e", "c", "a", "b", "f", "d"]  # EUR, then the others by name
    by_unit = prices(by="unit_price")
    assert by_unit == [("b", 0.8), ("a", 1.0), ("e", 0.2), ("c", None), ("f", 0.4), ("d", 0.6)]
    assert [id for id, _ in prices(limit=2)] == ["e", "c"]


def test_what_the_limit_leaves_out_is_said(stores: Stores) -> None:
    stores.graph.write(WRITE, rows=[listing(id, "g") for id in "abc"])
    for id in "bc":
        stores.graph.write(SAME, a=id, b="a")
    assert compare(stores, "a", limit=1, found=False).notes == ("2 more offers are beyond limit = 1",)
    assert compare(stores, "a", limit=3, found=False).notes == ()


def test_rates_join_currencies(prices: Callable[..., list[tuple[str, float | None]]]) -> None:
    rates = {"EUR": 1.0, "USD": 0.9}
    assert [id for id, _ in prices(rates)] == ["e", "d", "c", "a", "b", "f"]  # 2.70 EUR; no rate of CHF
    assert [id for id, _ in prices(rates, by="unit_price")] == ["d", "b", "a", "e", "c", "f"]
    with pytest.raises(BadInput, match="by = 'size'"):
        prices(by="size")
