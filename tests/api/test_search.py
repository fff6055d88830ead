"""Searches over a small shop, with a real encoder, on both graph engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from api.models import SearchReply, SearchRequest
from api.search import Searcher
from encoders import load
from kg.catalogue.pictures import Pictures
from kg.errors import BadFilter, BadInput, BadPicture, EncoderMismatch, NotFound, TooLarge
from kg.feed import changes
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.generations import Generation
from tests.shop import draw, put, remove
from tests.tiny_encoder import TinyEncoder, write_tiny
from workers.embedding import Chunk, embed_chunks
from workers.rows import region_rule

NEAR = """
MATCH (a:Entity {key: $a}), (b:Entity {key: $b}) MERGE (a)-[s:SIMILAR_TO]->(b) SET s.weight = $weight
"""
SAME = "MATCH (a:Product {id: $a}), (b:Product {id: $b}) MERGE (a)-[:SAME_AS]->(b)"
CURSOR = "MATCH (g:Generation {id: $id}) SET g.cursor = $cursor, g.state = 'shadow'"
TITLES = ["Amber pillar candle", "Honey candle", "Beeswax taper", "Ivory tealight", "Blue jar", "Plain soap"]
COLOURS = ["amber", "honey", "beeswax", "ivory", "blue", ""]


def embed(stores: Stores, checkpoint: Path, *, regions: int = 0) -> Generation:
    """Bring the live generation up to date, as a worker does; with so many regions of each picture besides."""
    encoder = load(checkpoint)
    generation = generations.register(
        stores,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        encoder_path=checkpoint,
        dim=encoder.dim,
        kinds=("image", "text", "fused"),
    )
    todo = Chunk(generation.cursor, changes(stores.graph, generation.cursor, 1000))
    collections, pictures = generation.collections(stores.vectors.prefix), Pictures.from_settings(stores.settings)
    assert embed_chunks(
        [todo],
        encoder,
        stores.vectors,
        collections,
        pictures,
        batch=8,
        commit=lambda chunk, rejects: not rejects,
        regions=region_rule(encoder, regions, 0.1),
    )
    stores.graph.write(CURSOR, id=generation.id, cursor=todo.changes[-1].revision)
    return switching.promote(stores, generation.id)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny")


@pytest.fixture
def shop(stores: Stores, tmp_path: Path, checkpoint: Path) -> Path:
    """Six products p0 to p5, p0 to p4 with a picture; amber ~ honey ~ beeswax; p0 and p1 are the same product."""
    for n, (title, colour) in enumerate(zip(TITLES, COLOURS, strict=True)):
        pictures = [draw(tmp_path / f"{n}.png", n)] if n < 5 else []
        put(
            stores.graph, f"p{n}", title=title, pictures=pictures, price=10.0 * n + 5, colour=colour, box=(8, 8, 56, 60)
        )
    stores.graph.write(NEAR, a="colour:amber", b="colour:honey", weight=0.82)
    stores.graph.write(NEAR, a="colour:honey", b="colour:beeswax", weight=0.7)
    stores.graph.write(SAME, a="p1", b="p0")
    embed(stores, checkpoint)
    return tmp_path


@pytest.fixture
def search(stores: Stores) -> Callable[..., SearchReply]:
    searcher = Searcher(stores, load)
    return lambda **fields: searcher.search(SearchRequest(**fields))


def ids(reply: SearchReply) -> list[str]:
    return [hit.product.id for hit in reply.hits]


def test_words_find_what_says_them(shop: Path, search: Callable[..., SearchReply]) -> None:
    reply = search(text="amber pillar candle", k=6, explain=True)
    assert (reply.requested, reply.returned, reply.plan, reply.exact, reply.stale) == (6, 6, "attribute", True, 0)
    assert reply.generation == f"g{TinyEncoder().fingerprint[:10]}"
    assert set(reply.timings_ms) >= {
        "select",
        "encode",
        "plan",
        "text-image",
        "text-text",
        "lexical",
        "results",
        "total",
    }
    first = reply.hits[0]
    assert (first.product.id, first.rank, first.ranks["text-text"], first.ranks["lexical"]) == ("p0", 1, 1, 1)
    assert first.scores["text-text"] == 1.0
    assert "its text fits the words 1.00" in first.reason
    assert "has the words amber, pillar, candle" in first.reason
    assert (first.product.brand, first.product.seller, first.product.price) == ("Aurora", "Corner Shop", 5.0)
    assert first.product.picture == (shop / "0.png").as_uri()
    assert reply.explanation is not None
    assert reply.explanation.lists == ("text-image", "text-text", "lexical")
    assert reply.explanation.candidates == 6


def test_a_picture_finds_its_product_and_the_box(shop: Path, search: Callable[..., SearchReply]) -> None:
    reply = search(image=(shop / "3.png").read_bytes(), box=(8, 8, 56, 60), k=3)
    [first, *rest] = reply.hits
    assert (first.product.id, first.scores) == ("p3", {"picture-image": 1.0})
    assert first.reason == "looks alike 1.00"
    assert first.match is not None
    assert (first.match.instance_id, first.match.kind, first.match.box) == ("p3#img0", "image", (8.0, 8.0, 56.0, 60.0))
    assert len(rest) == 2
    assert rest[0].scores["picture-image"] < 1


def test_fewer_than_k_only_where_there_are_no_more(shop: Path, search: Callable[..., SearchReply]) -> None:
    assert search(image=(shop / "3.png").read_bytes(), k=10).returned == 5  # p5 has no picture
    assert search(text="candle", k=10).returned == 6
    assert search(text="candle", k=10, filters={"max_price": 20}).returned == 2


def test_picture_and_words_make_every_list(shop: Path, search: Callable[..., SearchReply]) -> None:
    request = {"image": (shop / "1.png").read_bytes(), "box": (8, 8, 56, 60), "text": "honey candle", "k": 6}
    first = search(**request).hits[0]
    assert first.product.id == "p1"
    assert set(first.ranks) == {"picture-image", "text-image", "text-text", "pair-fused", "lexical"}
    assert first.scores["pair-fused"] > 0.99
    assert ids(search(**request, weights={"lexical": 5}, fusion="weighted"))[0] == "p1"
    only = search(**request, weights={name: 0 for name in first.ranks if name != "lexical"})
    assert all(set(hit.ranks) == {"lexical"} for hit in only.hits)
    with pytest.raises(BadInput, match="no list 'sound' in this search; it has picture-image"):
        search(**request, weights={"sound": 1})
    with pytest.raises(BadInput, match="every list has weight 0"):
        search(**request, weights=dict.fromkeys(first.ranks, 0))


def test_like_finds_others_by_its_own_vectors(shop: Path, search: Callable[..., SearchReply]) -> None:
    reply = search(like="p2", k=10)
    assert sorted(ids(reply)) == ["p0", "p1", "p3", "p4", "p5"]
    assert "reads like p2" in reply.hits[0].reason
    assert "p2" not in ids(search(like="p2", text="beeswax taper", k=10))
    with pytest.raises(NotFound, match="no product 'nobody'"):
        search(like="nobody")


def test_every_filter_is_kept_and_says_its_reason(shop: Path, search: Callable[..., SearchReply]) -> None:
    reply = search(text="candle", filters={"brand": "AURORA", "category": "Home", "min_price": 10, "max_price": 30})
    assert sorted(ids(reply)) == ["p1", "p2"]
    hit = next(hit for hit in reply.hits if hit.product.id == "p1")
    assert hit.reason.startswith("brand Aurora; category Candles (below Home); price 15.00; ")
    assert [(step.source, step.relation, step.target) for step in hit.path] == [
        ("p1", "MADE_BY", "brand:aurora"),
        ("p1", "IN_CATEGORY", "category:home > candles"),
        ("category:home > candles", "CHILD_OF", "category:home"),
    ]


def test_near_walks_the_entity_graph(shop: Path, search: Callable[..., SearchReply]) -> None:
    def found(**near: object) -> list[str]:
        return sorted(ids(search(text="candle", filters={"near": "amber", **near})))

    assert found(hops=0) == ["p0"]
    assert found() == ["p0", "p1"]
    assert found(hops=2) == ["p0", "p1", "p2"]
    assert found(hops=2, min_weight=0.75) == ["p0", "p1"]
    hits = search(text="candle", filters={"near": "colour:amber", "hops": 2}).hits
    hit = next(hit for hit in hits if hit.product.id == "p2")
    assert hit.reason.startswith("entity 'amber' —0.82→ 'honey' —0.70→ 'beeswax'; ")
    assert [(step.source, step.relation, step.target, step.weight) for step in hit.path] == [
        ("p2", "HAS_ENTITY", "colour:beeswax", None),
        ("colour:beeswax", "SIMILAR_TO", "colour:honey", 0.7),
        ("colour:honey", "SIMILAR_TO", "colour:amber", 0.82),
    ]


def test_a_tree_of_filters_says_what_admitted_each(shop: Path, search: Callable[..., SearchReply]) -> None:
    tree = {"any": [{"near": "honey", "hops": 0}, {"not": {"max_price": 20}}], "not": {"entity": "amber"}}
    for reply in (search(text="candle", filters=tree), search(filters=tree)):
        said = {hit.product.id: hit.reason for hit in reply.hits}
        assert said["p1"].startswith("not entity amber; entity 'honey'")
        assert "price" not in said["p1"], "15.00 is not what admitted it"
        assert "price 25.00" in said["p2"]
        assert "p0" not in said
    with pytest.raises(BadFilter, match=r"unknown filter 'any\.0\.not\.brnd'"):
        search(text="candle", filters={"any": [{"not": {"brnd": "x"}}]})


def test_without_a_question_the_selection_is_listed(shop: Path, search: Callable[..., SearchReply]) -> None:
    reply = search(filters={"category": "candles", "min_price": 20}, k=3)
    assert (ids(reply), reply.plan, reply.exact, reply.generation) == (["p2", "p3", "p4"], "browse", True, None)
    assert reply.hits[0].reason == "category Candles; price 25.00"


def test_the_best_offer_is_that_of_the_same_product(shop: Path, search: Callable[..., SearchReply]) -> None:
    offers = {hit.product.id: hit.offer for hit in search(text="candle").hits}
    assert offers["p1"] is not None
    assert (offers["p1"].product_id, offers["p1"].price) == ("p0", 5.0)
    assert offers["p2"] is not None
    assert offers["p2"].product_id == "p2"


def test_an_unknown_name_admits_nothing_and_is_noted(shop: Path, search: Callable[..., SearchReply]) -> None:
    reply = search(text="candle", filters={"brand": "Nobody"})
    assert (reply.returned, reply.notes) == (0, ("no brand 'Nobody' in the graph",))
    assert search(text="candle", filters={"brand": ["Nobody", "Aurora"]}).returned == 6


def test_what_is_not_embedded_yet_is_filtered_by_the_graph(
    shop: Path, stores: Stores, checkpoint: Path, search: Callable[..., SearchReply]
) -> None:
    put(stores.graph, "p0", title=TITLES[0], pictures=[shop / "0.png"], price=99.0, box=(8, 8, 56, 60))
    remove(stores.graph, "p4")
    put(stores.graph, "p9", title="Amber newcomer", price=1.0)
    picture = (shop / "0.png").read_bytes()
    reply = search(image=picture, filters={"min_price": 90})
    assert (ids(reply), reply.stale, reply.plan) == (["p0"], 3, "exact")
    assert "p4" not in ids(search(image=picture, k=10))
    assert "p9" in ids(search(text="newcomer"))  # words need no vector
    with pytest.raises(NotFound, match="'p9' has no vectors in generation"):
        search(like="p9")
    embed(stores, checkpoint)
    reply = search(image=picture, filters={"min_price": 90})
    assert (ids(reply), reply.stale, reply.plan) == (["p0"], 0, "attribute")


def test_before_the_first_generation_only_words_are_searched(
    stores: Stores, tmp_path: Path, search: Callable[..., SearchReply]
) -> None:
    put(stores.graph, "p0", title="Amber candle")
    reply = search(text='amber AND (candle* OR "jar')
    assert (ids(reply), reply.plan, reply.generation) == (["p0"], "lexical", None)
    assert reply.notes == ("no generation is live: only words are searched",)
    with pytest.raises(NotFound, match="no generation is live"):
        search(image=draw(tmp_path / "x.png", 1).read_bytes())
    with pytest.raises(NotFound, match="no generation is live"):
        search(like="p0")


def test_another_encoder_is_an_error_not_a_mix(shop: Path, stores: Stores, checkpoint: Path) -> None:
    write_tiny(checkpoint, seed=8)
    with pytest.raises(EncoderMismatch, match=TinyEncoder(seed=8).fingerprint):
        Searcher(stores, load).search(SearchRequest(text="candle"))


def test_bad_pictures_are_refused(shop: Path, search: Callable[..., SearchReply]) -> None:
    with pytest.raises(BadPicture, match="of the request cannot be decoded"):
        search(image=b"not a picture")
    with pytest.raises(BadPicture, match="lies outside of 64x64"):
        search(image=(shop / "0.png").read_bytes(), box=(100, 100, 120, 120))
    with pytest.raises(TooLarge, match=r"21\.0 MB, the limit is 20 MB"):
        search(image=np.random.default_rng(0).bytes(21_000_000))
    with pytest.raises(BadPicture, match="not an http or https address"):
        search(image_url="file:///etc/passwd")
    with pytest.raises(BadPicture, match=r"127\.0\.0\.1"):
        search(image_url="http://127.0.0.1:9/a.png")


def test_k_has_a_limit(shop: Path, search: Callable[..., SearchReply]) -> None:
    with pytest.raises(BadInput, match=r"k = 1001: at most 1000 \(setting search_max_k\)"):
        search(text="candle", k=1001)
