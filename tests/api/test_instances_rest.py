"""`POST /v1/instances`: what it takes, odd pictures, and what it refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from api.instance_models import InstancesRequest
from kg.stores import Stores
from tests.api.scenes import data, fill, scene
from tests.api.test_app import HERE, refused

URL = "/v1/instances"


@pytest.fixture
def shop(stores: Stores, tmp_path: Path) -> Iterator[TestClient]:
    """The API over five products, with an encoder that has a detector; on both graph engines."""
    fill(stores, tmp_path)
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        yield client


@pytest.fixture
def api(embedded: Stores) -> Iterator[TestClient]:
    """The API without a catalogue, for what is refused before anything is looked up."""
    with TestClient(create_app(embedded.settings), base_url=HERE) as client:
        yield client


def post(client: TestClient, picture: bytes, **fields: Any) -> Any:
    return client.post(URL, files={"image": picture}, data={"request": json.dumps(fields)})


def test_json_and_form_alike_and_metrics(shop: TestClient, tmp_path: Path) -> None:
    picture = data(scene(tmp_path, [3, 0])[0])
    by_form = post(shop, picture, k=2, filters={"min_price": 10}).json()
    sent = {"image": base64.b64encode(picture).decode(), "k": 2, "filters": {"min_price": 10}}
    by_json = shop.post(URL, json=sent).json()
    aside = {"timings_ms": 0, "plan": ""}  # meanwhile the copy beside the API may have been written
    assert by_form | aside == by_json | aside
    assert [len(instance["hits"]) for instance in by_form["instances"]] == [2, 2]
    counted = shop.get("/metrics").text
    assert 'skugraph_instances_found_total{boxes="proposed"}' in counted
    assert 'skugraph_instances_seconds_count{plan="attribute"}' in counted


def turned(image: Image.Image) -> bytes:
    """As a camera held upright writes it: lying, with the note to turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return data(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=100, subsampling=0)


def transparent(image: Image.Image) -> bytes:
    ground = Image.new("L", image.size, 255)
    return data(Image.merge("RGBA", (*image.split(), ground)))


def animated(image: Image.Image) -> bytes:
    return data(image, "WEBP", save_all=True, append_images=[Image.new("RGB", image.size, "red")], lossless=True)


@pytest.mark.parametrize(
    "written",
    [
        data,
        turned,
        transparent,
        animated,
        lambda image: data(image, "TIFF", compression="tiff_lzw"),
        lambda image: data(image.convert("CMYK"), "TIFF"),
    ],
    ids=["PNG", "EXIF-turned JPEG", "alpha", "animated", "TIFF", "CMYK"],
)
def test_boxes_are_those_of_the_picture_as_it_is_seen(shop: TestClient, tmp_path: Path, written: Any) -> None:
    image, boxes = scene(tmp_path, [3, 0])
    picture = written(image)
    for fields in ({}, {"boxes": boxes}):
        reply = post(shop, picture, k=1, **fields).json()
        assert (reply["width"], reply["height"]) == image.size
        found = {tuple(one["box"]): one["hits"][0]["product"]["id"] for one in reply["instances"]}
        assert len(found) == 2
        for box, product in zip(boxes, ["p3", "p0"], strict=True):
            [name] = [name for near, name in found.items() if np.allclose(near, box, atol=3)]
            assert name == product


def test_thin_pictures_are_searched(shop: TestClient) -> None:
    for width, height in ((1, 5000), (5000, 1), (1, 1)):
        noise = np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)
        for image in (Image.new("RGB", (width, height), "teal"), Image.fromarray(noise)):
            answer = post(shop, data(image), k=1)
            assert answer.status_code == 200, answer.text
            assert answer.json()["instances"][0]["hits"]


def test_grey_of_16_bits_and_one_colour_are_searched(shop: TestClient) -> None:
    deep = np.full((60, 90), 40_000, np.uint16)
    deep[10:40, 20:60] = 9_000
    reply = post(shop, data(Image.fromarray(deep))).json()
    assert [one["box"] for one in reply["instances"]] == [[20, 10, 60, 40]]
    for mode, colour in (("RGB", "red"), ("L", 7), ("CMYK", (9, 9, 9, 9)), ("1", 1)):
        reply = post(shop, data(Image.new(mode, (31, 17), colour), "TIFF")).json()
        [one] = reply["instances"]
        assert (one["box"], one["score"], one["number"]) == ([0, 0, 31, 17], None, 1)
        assert "all of it was searched" in reply["notes"][0]


@pytest.mark.parametrize(
    ("boxes", "says"),
    [
        ([], "boxes"),
        ([[5, 5, 5, 9]], "boxes.0 = [5, 5, 5, 9]: a box is x1, y1, x2, y2"),
        ([[1, 2, 3, 4], [9, 5, 5, 9]], "boxes.1 = [9, 5, 5, 9]: a box is"),
        ([[-1, 0, 5, 9]], "[-1, 0, 5, 9]: a box is"),
        ([[0, 0, float("nan"), 9]], "[0, 0, nan, 9]: a box is"),
        ([[0, 0, float("inf"), 9]], "[0, 0, inf, 9]: a box is"),
        ([[0, 0, 5]], "boxes.0"),
        ([["a", 0, 5, 9]], "boxes.0.0 = 'a'"),
        ([[400, 0, 500, 50]], "boxes.0 = [400.0, 0.0, 500.0, 50.0] lies outside of the picture of 400 x 120 pixels"),
        ([[0, 0, 9, 9], [0, 120, 9, 130]], "boxes.1 = [0.0, 120.0, 9.0, 130.0] lies outside"),
        ([[0, 0, 9, 9]] * 101, "boxes = "),
    ],
)
def test_bad_boxes_are_refused_with_the_value_and_the_rule(
    api: TestClient, tmp_path: Path, boxes: list[Any], says: str
) -> None:
    detail = refused(post(api, data(scene(tmp_path, [0])[0]), boxes=boxes), 400, "bad-input")["detail"]
    assert says in detail
    assert len(detail) < 400


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 400, "bad-input"),
        ({"image": "AAAA", "image_url": "http://x.example/a.jpg"}, 400, "bad-input"),
        ({"image": "AAAA"}, 422, "bad-picture"),
        ({"image": ""}, 422, "bad-picture"),
        ({"image_url": "http://127.0.0.1:9/a.png"}, 422, "bad-picture"),
        ({"image": "AAAA", "k": 0}, 400, "bad-input"),
        ({"image": "AAAA", "k": 101}, 400, "bad-input"),
        ({"image": "AAAA", "limit": 0}, 400, "bad-input"),
        ({"image": "AAAA", "min_score": 2}, 400, "bad-input"),
        ({"image": "AAAA", "merge": "best"}, 400, "bad-input"),
        ({"image": "AAAA", "box": [0, 0, 1, 1]}, 400, "bad-input"),
        ({"image": "AAAA", "filters": {"colour": "red"}}, 400, "bad-filter"),
    ],
)
def test_what_cannot_be_answered_is_refused(api: TestClient, fields: dict[str, Any], status: int, code: str) -> None:
    refused(api.post(URL, json=fields), status, code)


def test_without_a_detector_the_refusal_says_what_to_do(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path, detector=False)
    image, boxes = scene(tmp_path, [3, 0])
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        problem = refused(post(client, data(image)), 400, "bad-input")
        assert "no detector" in problem["detail"]
        assert "give the boxes" in problem["hint"]
        assert len(post(client, data(image), boxes=boxes).json()["instances"]) == 2


def test_its_examples_are_true(api: TestClient) -> None:
    content = api.get("/openapi.json").json()["paths"][URL]["post"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        InstancesRequest.model_validate(example["value"])
    assert "boxes" in content["application/json"]["schema"]["properties"]
