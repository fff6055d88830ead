"""Entities that a search names beside its text, over a real encoder that reads them, on both graph engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.given import given_entities
from api.models import GivenEntity, SearchReply, SearchRequest
from api.search import Searcher
from encoders import load
from kg.errors import BadInput, NotFound
from kg.stores import Stores
from tests.api.test_search import embed
from tests.shop import draw, put
from tests.tiny_encoder import TinyEncoder, write_tiny

COLOURS = ("ivory", "amber", "blue")
BRAND, CATEGORY = {"type": "Brand", "value": "Aurora"}, {"type": "category", "value": "Home > Candles"}


@pytest.fixture
def shop(stores: Stores, tmp_path: Path) -> Stores:
    """Three candles of one title, told apart by the colour that a field states alone."""
    for n, colour in enumerate(COLOURS):
        put(stores.graph, f"p{n}", title="Candle", pictures=[draw(tmp_path / f"{n}.png", n)], colour=colour)
    embed(stores, write_tiny(tmp_path / "reader", entities=True))
    return stores


@pytest.fixture
def search(shop: Stores) -> Callable[..., SearchReply]:
    searcher = Searcher(shop, load)
    return lambda **fields: searcher.search(SearchRequest.model_validate({"text": "candle", "k": 3, **fields}))


def scores(reply: SearchReply) -> dict[str, float]:
    return {hit.product.id: hit.scores["text-text"] for hit in reply.hits}


def test_all_given_half_given_or_none(search: Callable[..., SearchReply]) -> None:
    for n, colour in enumerate(COLOURS):
        told = {"type": "colour", "value": colour.upper()}
        whole = search(entities=[BRAND, CATEGORY, told])
        assert scores(whole)[f"p{n}"] == 1.0  # the very vector of the product
        assert whole.notes == ()
        half = scores(search(entities=[told]))
        assert max(half, key=half.__getitem__) == f"p{n}"
        assert half[f"p{n}"] < 1
    none = scores(search())
    assert len(none) == 3
    assert max(none.values()) < 1


def test_they_are_no_filters_and_an_unknown_one_is_noted(search: Callable[..., SearchReply]) -> None:
    reply = search(entities=[{"type": "brand", "value": "No Such"}, {"type": "colour", "value": "ivory"}])
    assert reply.returned == 3
    assert reply.notes == ("no entity 'brand:no such': the encoder takes it for an unknown one of its type",)


def test_a_pair_of_picture_and_words_is_read_with_them(
    search: Callable[..., SearchReply], shop: Stores, tmp_path: Path
) -> None:
    told = [BRAND, CATEGORY, {"type": "colour", "value": "amber"}]
    best = search(image=(tmp_path / "1.png").read_bytes(), entities=told).hits[0]
    assert (best.product.id, best.scores["pair-fused"]) == ("p1", 1.0)


def test_an_encoder_that_takes_none_refuses_them(stores: Stores, tmp_path: Path) -> None:
    put(stores.graph, "p1", title="Candle")
    searcher, request = Searcher(stores, load), SearchRequest(text="candle", entities=(GivenEntity(**BRAND),))
    with pytest.raises(NotFound, match="no generation is live"):
        searcher.search(request)
    embed(stores, write_tiny(tmp_path / "tiny"))
    with pytest.raises(BadInput, match=f"encoder tiny \\({TinyEncoder().fingerprint[:10]}.* takes no entities"):
        searcher.search(request)


def test_of_a_category_every_level_is_given() -> None:
    given = [GivenEntity(type="Category", value="Home >  Candles"), *[GivenEntity(type="colour", value="Ivory")] * 2]
    assert given_entities(given) == [("category", "Home"), ("category", "Home > Candles"), ("colour", "Ivory")]


@pytest.fixture
def api(shop: Stores) -> Iterator[TestClient]:
    with TestClient(create_app(shop.settings), base_url="http://127.0.0.1:8765") as client:
        yield client


def test_by_rest_alone_and_in_a_batch(api: TestClient) -> None:
    told = [BRAND, CATEGORY, {"type": "colour", "value": "blue"}]
    wanted = {"text": "candle", "k": 1, "entities": told, "weights": {"text-image": 0, "lexical": 0}}
    [hit] = api.post("/v1/search", json=wanted).json()["hits"]
    assert hit["product"]["id"] == "p2"
    assert api.post("/v1/search:batch", json={"searches": [wanted]}).json()["replies"][0]["hits"] == [hit]
    refused = api.post("/v1/search", json={**wanted, "text": ""})
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "request: entities need text: they are read beside it; filters narrow a search without one",
    )
