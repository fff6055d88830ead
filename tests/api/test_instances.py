"""Several products in one picture: each found in its box, merged into one list; on both graph engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.instance_models import InstancesReply, InstancesRequest
from api.instances import search_instances
from api.models import SearchRequest
from api.regions import Region, proposed
from api.search import Searcher
from encoders import load
from encoders.protocol import Regions
from kg.errors import BadInput, NotFound
from kg.regions import region_id
from kg.stores import Stores
from tests.api.scenes import SIDE, data, fill, scene
from tests.api.test_search import embed
from tests.shop import put
from tests.tiny_encoder import TinyEncoder

Ask = Callable[..., InstancesReply]


@pytest.fixture
def shop(stores: Stores, tmp_path: Path) -> Path:
    fill(stores, tmp_path)
    return tmp_path


@pytest.fixture
def ask(stores: Stores) -> Ask:
    searcher = Searcher(stores, load)
    return lambda **fields: search_instances(searcher, InstancesRequest(**fields))


def firsts(reply: InstancesReply) -> list[str]:
    return [instance.hits[0].product.id for instance in reply.instances]


def test_k_has_the_bound_of_every_search(stores: Stores, shop: Path) -> None:
    narrow = replace(stores, settings=stores.settings.model_copy(update={"search_max_k": 3}))
    image, _ = scene(shop, [3, 0])
    for fields in ({"k": 4, "merged_k": 2}, {"k": 2, "merged_k": 4}):
        with pytest.raises(BadInput, match=r"k = 4: at most 3 \(setting search_max_k\)"):
            search_instances(Searcher(narrow, load), InstancesRequest(image=data(image), **fields))


def test_each_product_is_found_in_its_box(shop: Path, ask: Ask) -> None:
    image, boxes = scene(shop, [3, 0, 2])
    reply = ask(image=data(image), k=2)
    assert (reply.width, reply.height, reply.plan, reply.exact, reply.stale) == (400, 120, "attribute", True, 0)
    assert sorted(instance.box for instance in reply.instances) == sorted(boxes)
    found = dict(zip([instance.box for instance in reply.instances], firsts(reply), strict=True))
    assert [found[box] for box in boxes] == ["p3", "p0", "p2"]
    assert [instance.number for instance in reply.instances] == [1, 2, 3]
    for instance in reply.instances:
        assert instance.score == pytest.approx((SIDE * SIDE / 400 / 120) ** 0.5, abs=1e-6)
        assert [hit.rank for hit in instance.hits] == [1, 2]
        first = instance.hits[0]
        assert first.scores == {"picture-image": 1.0}
        assert first.match is not None
        assert first.match.instance_id == f"{first.product.id}#img0"
        assert first.reason == "looks alike 1.00"
    assert set(reply.timings_ms) == {
        "select", "decode", "propose", "encode", "plan", "picture-image", "merge", "results", "total",
    }  # fmt: skip


def test_the_merged_list_says_who_won_each(shop: Path, ask: Ask) -> None:
    image, _ = scene(shop, [3, 0, 2])
    in_turn = ask(image=data(image), k=1, merged_k=4)
    assert [hit.product.id for hit in in_turn.merged[:3]] == firsts(in_turn)
    assert [hit.instance for hit in in_turn.merged] == [1, 2, 3, 1]
    assert [hit.rank for hit in in_turn.merged] == [1, 2, 3, 4]
    assert len({hit.product.id for hit in in_turn.merged}) == 4
    assert in_turn.merged[0].reason == "looks alike 1.00"

    best = ask(image=data(image), k=1, merge="max_score")
    assert len(best.merged) == 5
    assert [hit.score for hit in best.merged[:3]] == [1.0] * 3
    assert [hit.product.id for hit in best.merged[:3]] == ["p0", "p2", "p3"]
    scores = [hit.score for hit in best.merged]
    assert scores == sorted(scores, reverse=True)
    assert scores == [hit.scores["picture-image"] for hit in best.merged]

    mean = ask(image=data(image), k=5, merge="mean_top")
    every = [{hit.product.id: hit.scores["picture-image"] for hit in one.hits} for one in mean.instances]
    for hit in mean.merged:
        assert hit.score == pytest.approx(sum(scores[hit.product.id] for scores in every) / 3)


def test_with_a_text_the_merged_scores_are_those_of_picture_and_text_together(shop: Path, ask: Ask) -> None:
    image, _ = scene(shop, [3, 0, 2])
    best = ask(image=data(image), text="honey candle", k=5, merge="max_score").merged
    assert len(best) == 5
    assert [hit.score for hit in best] == [hit.scores["pair-fused"] for hit in best]
    assert any(hit.scores["pair-fused"] != hit.scores["picture-image"] for hit in best)


@pytest.mark.parametrize("detector", [True, False])
@pytest.mark.parametrize("text", ["", "honey candle"])
def test_a_box_that_is_given_answers_as_a_search_with_this_box(
    stores: Stores, tmp_path: Path, detector: bool, text: str
) -> None:
    checkpoint = fill(stores, tmp_path, detector=detector)
    assert (load(checkpoint).detector is not None) == detector  # type: ignore[attr-defined]
    image, boxes = scene(tmp_path, [1, 4])
    boxes.append((0.0, 0.0, 400.0, 120.0))
    searcher = Searcher(stores, load)
    request = InstancesRequest(image=data(image), boxes=tuple(boxes), text=text, k=3, filters={"max_price": 44})
    reply = search_instances(searcher, request)
    assert [(instance.box, instance.score) for instance in reply.instances] == [(box, None) for box in boxes]
    for box, instance in zip(boxes, reply.instances, strict=True):
        alone = searcher.search(SearchRequest(image=data(image), box=box, text=text, k=3, filters={"max_price": 44}))
        assert instance.hits == alone.hits
    assert "p4" not in {hit.product.id for hit in reply.merged}  # 45.00 is too dear
    if text:
        assert set(reply.merged[0].ranks) == {"picture-image", "text-image", "text-text", "pair-fused", "lexical"}


def test_what_reaches_beyond_the_picture_is_cut_off(shop: Path, ask: Ask) -> None:
    image, _ = scene(shop, [1])
    [instance] = ask(image=data(image), boxes=[(20, 10, 9999, 120.5)]).instances
    assert instance.box == (20, 10, 400, 120)


def test_regions_of_one_product_that_overlap_are_one(shop: Path, ask: Ask) -> None:
    """A line through the product takes a corner off; both pieces can only be p0, the larger fits better."""
    image, [box] = scene(shop, [0])
    x, y = int(box[0]), int(box[1])
    ground = image.getpixel((0, 0))
    image.paste(ground, (x + 40, y + 38, x + SIDE, y + 40))
    image.paste(ground, (x + 38, y + 38, x + 40, y + SIDE))
    only = {"filters": {"max_price": 6}, "min_score": 0}
    [kept] = ask(image=data(image), **only).instances
    both = ask(image=data(image), overlap=1, **only)
    assert [instance.hits[0].product.id for instance in both.instances] == ["p0", "p0"]
    assert kept.box == box
    assert "1 of 2 regions found the same product as another" in ask(image=data(image), **only).notes[0]
    assert both.notes == ()
    given = [instance.box for instance in both.instances]
    assert len(ask(image=data(image), boxes=given, **only).instances) == 2  # as they are
    apart, _ = scene(shop, [0, 1, 0])
    assert firsts(ask(image=data(apart), **only)) == ["p0"] * 3


def test_the_detector_is_bounded(shop: Path, ask: Ask) -> None:
    image, _ = scene(shop, [3, 0, 2])
    image.paste((250, 0, 0), (390, 2, 398, 10))  # small, so of low score
    assert len(ask(image=data(image)).instances) == 3
    assert len(ask(image=data(image), min_score=0).instances) == 4
    assert len(ask(image=data(image), limit=2).instances) == 2
    [alone] = ask(image=data(image), min_score=1).instances
    assert (alone.box, alone.score) == ((0, 0, 400, 120), None)


class Thin(TinyEncoder):
    """Its detector finds less than a hundredth of a pixel, and something."""

    def propose(self, images: Sequence[Image.Image], *, limit: int = 36) -> list[Regions]:
        boxes = np.array([[0.001, 5, 0.004, 90], [0, 10, 1, 60]], np.float32)
        return [Regions(boxes, np.array([0.9, 0.8], np.float32)) for _ in images]


def test_what_rounding_leaves_nothing_of_is_not_proposed() -> None:
    image = Image.new("RGB", (1, 100), "red")
    image.putpixel((0, 0), (0, 0, 0))
    assert proposed(Thin(detector=True), image, limit=5, min_score=0) == [Region((0, 10, 1, 60), 0.8)]


def test_a_picture_of_one_colour_is_one_instance(shop: Path, ask: Ask) -> None:
    reply = ask(image=data(Image.new("RGB", (50, 30), "teal")), k=3)
    [instance] = reply.instances
    assert (instance.box, instance.score, len(instance.hits)) == ((0, 0, 50, 30), None, 3)
    assert "nothing" in reply.notes[0] or "no region" in reply.notes[0]


def test_without_detector_one_has_to_give_the_boxes(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path, detector=False)
    image, _ = scene(tmp_path, [1])
    with pytest.raises(BadInput, match=r"has no detector.*give the boxes"):
        search_instances(Searcher(stores, load), InstancesRequest(image=data(image)))


def test_without_vectors_there_is_nothing_to_compare(stores: Stores, tmp_path: Path) -> None:
    put(stores.graph, "p0", title="Amber candle")
    image, _ = scene(tmp_path, [1])
    with pytest.raises(NotFound, match="no generation is live"):
        search_instances(Searcher(stores, load), InstancesRequest(image=data(image)))


def test_a_change_that_is_not_embedded_yet_is_seen(shop: Path, stores: Stores, ask: Ask) -> None:
    put(stores.graph, "p3", title="Dear", pictures=[shop / "3.png"], price=500.0)
    image, _ = scene(shop, [3, 0])
    reply = ask(image=data(image), filters={"max_price": 100})
    assert (reply.plan, reply.stale) == ("exact", 1)
    assert "p3" not in {hit.product.id for hit in reply.merged}
    assert "p0" in firsts(reply)


def test_filters_that_admit_nothing_leave_the_boxes(shop: Path, ask: Ask) -> None:
    image, boxes = scene(shop, [3, 0])
    reply = ask(image=data(image), filters={"brand": "Nobody"})
    assert sorted(instance.box for instance in reply.instances) == sorted(boxes)
    assert [instance.hits for instance in reply.instances] == [(), ()]
    assert (reply.merged, reply.notes) == ((), ("no brand 'Nobody' in the graph",))


def test_a_region_of_the_gallery_matches_with_its_box(shop: Path, stores: Stores, ask: Ask) -> None:
    """A worker keeps vectors of regions beside that of the whole picture; the id of the row says which."""
    image, [_, right] = scene(shop, [7, 8])
    path = shop / "pair.png"
    image.save(path)
    put(stores.graph, "pair", title="A pair", pictures=[path], price=5.0)
    generation = embed(stores, shop / "seer", regions=4)
    collection = generation.collections(stores.vectors.prefix)["image"]
    region = region_id("pair#img0", right)
    assert region in stores.vectors.fetch(collection, ["pair"]).instance_ids
    searcher = Searcher(stores, load)

    def match(picture: Image.Image, **fields: Any) -> Any:
        hit = searcher.search(SearchRequest(image=data(picture), k=1, **fields)).hits[0]
        assert hit.product.id == "pair"
        return hit.match

    found = match(image, box=right)
    assert (found.instance_id, found.box) == (region, right)
    assert found.picture == path.as_uri()
    assert match(image).instance_id == "pair#img0"
    assert match(image).box is None
    alone, _ = scene(shop, [8])
    [instance] = ask(image=data(alone), k=1).instances
    assert instance.hits[0].match is not None
    assert instance.hits[0].match.box == right

    # What is like the pair is like the whole picture: a product that only stands beside it is not asked for.
    like = searcher.search(SearchRequest(like="pair", k=5)).hits
    by_whole = searcher.search(SearchRequest(image=data(image), k=6)).hits[1:]
    assert {hit.product.id: hit.scores["like-image"] for hit in like} == {
        hit.product.id: hit.scores["picture-image"] for hit in by_whole
    }
    stores.vectors.delete_products(collection, ["pair"])
    assert "pair" not in {hit.product.id for hit in searcher.search(SearchRequest(image=data(image), k=9)).hits}
