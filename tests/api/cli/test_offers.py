"""`skugraph offers`, `calibrate-offers` and `recommend` as processes: what they print, and their refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kg.stores import Stores
from tests.api.cli.run import answer, skugraph
from tests.api.scenes import data, fill, scene

PACK = "MATCH (p:Product {id: $id}) SET p.title = $title, p.currency = $currency"
SAME = "MATCH (a:Product {id: $a}), (b:Product {id: $b}) MERGE (a)-[:SAME_AS]->(b)"


def test_offers_and_recommendations_are_printed(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path)
    stores.graph.write(PACK, id="p0", title="Oil 500 ml", currency="EUR")
    stores.graph.write(PACK, id="p1", title="Oil 2 x 500 ml", currency="USD")
    stores.graph.write(SAME, a="p1", b="p0")
    settings = stores.settings.model_copy(update={"currency_rates": {"EUR": 1.0, "USD": 0.5}})
    reply = answer("offers", "p1", "--by", "unit_price", settings=settings)
    assert [(o["product_id"], o["unit_price"]["value"], o["converted"]) for o in reply["offers"]] == [
        ("p1", 1.5, None),
        ("p0", 1.0, 10.0),  # 1 EUR is 2 USD
    ]
    page = skugraph("offers", "p1", settings=settings)
    assert page.returncode == 0, page.stderr
    assert "1.5 / 100 ml" in page.stdout
    assert "note: only certain offers: generation" in page.stdout
    calibrated = skugraph("calibrate-offers", "--precision", "0.9", settings=settings)
    assert calibrated.returncode == 2
    assert "right pairs of 0 products of validation were found, and 25 products are needed" in calibrated.stderr

    found = answer("recommend", "--like", "p0", "--like", "p2=0.5", "-k", 2, settings=settings)
    assert {one["product"]["id"] for one in found["similar"]} == {"p3", "p4"}
    picture = tmp_path / "room.png"
    picture.write_bytes(data(scene(tmp_path, [3])[0]))
    page = skugraph("recommend", "--image", picture, "-k", "1", settings=settings)
    assert page.returncode == 0, page.stderr
    assert page.stdout.startswith("[1] 20, 10, 84, 74: Ivory tealight  (p3)\nsimilar:\n  1. ")
    assert "complementary: none" in page.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("recommend",), "give one of image, image_url and viewed; given: none"),
        (("recommend", "--like", "a=-1"), "viewed.0.weight: Input should be greater than or equal to 0"),
        (("recommend", "--image", "no-such.jpg"), "--image no-such.jpg: No such file or directory"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path: Path, args: tuple[str, ...], says: str) -> None:
    done = skugraph(*args, "--home", tmp_path, "--json")
    assert done.returncode == 2, done.stderr
    assert says in json.loads(done.stdout)["error"]["message"]
