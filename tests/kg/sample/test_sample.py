from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest

from kg.catalogue.columns import ColumnMap
from kg.catalogue.pictures import Pictures
from kg.catalogue.readers import read_rows, table_columns
from kg.records import Product
from kg.sample import SamplePaths, write_sample
from kg.sample.designs import invent


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample(tmp_path_factory.mktemp("sample"), products=48)


@pytest.fixture(scope="module")
def products(sample: SamplePaths) -> list[Product]:
    column_map = ColumnMap.load(sample.map)
    column_map.check(table_columns(sample.table)[0])
    return [column_map.record(row) for _, row in read_rows(sample.table)]


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sample(tmp_path / name, products=16)
    write_sample(tmp_path / "other", products=16, seed=8)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert digest(tmp_path / "one") != digest(tmp_path / "other")


def test_a_complete_sample_is_left_alone_and_a_broken_off_one_is_not(tmp_path: Path) -> None:
    paths = write_sample(tmp_path, products=8)
    before = digest(tmp_path)
    paths.table.write_text("mine")
    write_sample(tmp_path, products=8)
    assert paths.table.read_text() == "mine"
    (tmp_path / "sample.json").unlink()
    write_sample(tmp_path, products=8)
    assert digest(tmp_path) == before


def test_every_listing_is_a_good_record_with_its_picture(sample: SamplePaths, products: list[Product]) -> None:
    pictures = Pictures(cache=sample.table.parent / "cache")
    assert len({product.id for product in products}) == len(products)
    for product in products:
        (picture,) = product.pictures
        image = pictures.open(pictures.locate(sample.images, picture.uri), picture.box)
        assert min(image.size) > 20
    assert any(product.pictures[0].box for product in products)


def test_it_is_a_shop(products: list[Product]) -> None:
    offers = Counter(product.identity for product in products)
    assert set(offers.values()) == {2, 3}
    for identity in offers:
        same = [product for product in products if product.identity == identity]
        assert len({product.seller for product in same}) == len(same)
        assert len({product.category for product in same}) == 1
    assert len({product.title for product in products}) > 0.9 * len(products)


def test_families_differ_in_scent_or_size_alone() -> None:
    designs = invent(7, 240)
    families = Counter((design.brand.name, design.kind.name, design.shape) for design in designs)
    assert min(list(families.values())[:-1]) >= 3
    assert (
        len({(design.brand.name, design.kind.name, design.shape, design.scent, design.size) for design in designs})
        == 240
    )
    assert invent(7, 100) == designs[:100]
    with pytest.raises(ValueError, match="products = 1000000"):
        invent(7, 1_000_000)


def test_gtins_carry_their_check_digit() -> None:
    for design in invent(7, 50):
        assert len(design.gtin) == 13
        assert sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(design.gtin)) % 10 == 0


def test_scene_boxes_lie_in_their_pictures_and_overlap_little(sample: SamplePaths) -> None:
    scenes = [json.loads(line) for line in sample.scenes.read_text().splitlines()]
    assert len(scenes) == 6
    for scene in scenes:
        boxes = sorted(instance["box"] for instance in scene["instances"])
        assert 3 <= len(boxes) <= 6
        for x1, y1, x2, y2 in boxes:
            assert 0 <= x1 < x2 <= scene["width"]
            assert 0 <= y1 < y2 <= scene["height"]
        for left, right in itertools.pairwise(boxes):
            assert left[2] - right[0] < 0.35 * (left[2] - left[0])


def test_queries_are_judged_by_identity_and_shown_by_no_listing(sample: SamplePaths, products: list[Product]) -> None:
    queries = {query["id"]: query for query in map(json.loads, sample.queries.read_text().splitlines())}
    identity = {product.id: product.identity for product in products}
    judged: dict[str, set[str]] = {}
    for line in sample.qrels.read_text().splitlines():
        query, _, listing, grade = line.split()
        assert (identity[listing], grade) == (queries[query]["identity"], "1")
        judged.setdefault(query, set()).add(listing)
    for name, query in queries.items():
        assert judged[name] == {listing for listing, same in identity.items() if same == query["identity"]}
    listed = {hashlib.sha256(path.read_bytes()).digest() for path in sample.images.rglob("*.jpg")}
    shown = {
        hashlib.sha256((sample.queries.parent / query["image"]).read_bytes()).digest() for query in queries.values()
    }
    assert not listed & shown
