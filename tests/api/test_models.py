from __future__ import annotations

import base64

import pytest

from api.models import SearchRequest
from kg.errors import BadFilter, BadInput

BYTES = bytes(range(256))


@pytest.mark.parametrize(
    "written",
    [
        base64.b64encode(BYTES).decode(),
        base64.urlsafe_b64encode(BYTES).decode(),
        "data:image/png;base64," + base64.b64encode(BYTES).decode(),
        BYTES,
    ],
)
def test_a_picture_is_bytes_or_base64(written: str | bytes) -> None:
    assert SearchRequest.model_validate({"image": written}).image == BYTES


def test_json_and_back() -> None:
    request = SearchRequest.model_validate(
        {"text": "x", "image": BYTES, "box": [0, 1, 2, 3], "filters": {"brand": "b", "not": {"seller": "s"}}}
    )
    assert SearchRequest.model_validate_json(request.model_dump_json()) == request
    assert SearchRequest.model_validate(request.model_dump(mode="json")) == request


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "nothing is asked for"),
        ({"text": "  "}, "nothing is asked for"),
        ({"filters": {"brand": []}}, "nothing is asked for"),
        ({"text": "x", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"text": "x", "top": 5}, "top: Extra inputs are not permitted. known: text, entities, image"),
        (
            {"text": "x", "plan": "browse"},
            "plan: Input should be 'attribute', 'exact', 'ids', 'overfetch' or 'resident'",
        ),
        ({"image": "%%"}, "image: is not base64"),
        ({"image": b"x", "image_url": "http://x"}, "image or image_url, not both"),
        ({"text": "x", "box": [0, 0, 1, 1]}, "box needs image or image_url"),
        ({"image": b"x", "box": [5, 0, 1, 1]}, "a box is x1, y1, x2, y2"),
        ({"entities": [{"type": "brand", "value": "Diesel"}]}, "entities need text"),
        (
            {"text": "x", "entities": [{"type": " ", "value": "Diesel"}]},
            "entities.0.type: String should have at least 1",
        ),
        ({"text": "x", "entities": [{"type": "brand"}]}, "entities.0.value: Field required"),
        ({"text": "x", "entities": ["brand:diesel"]}, "entities.0: Input should be a valid dictionary"),
        ({"text": "x", "weights": {"lexical": -1}}, "weights.lexical: Input should be greater"),
    ],
)
def test_every_refusal_names_the_field(fields: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as refusal:
        SearchRequest.model_validate(fields)
    assert message in str(refusal.value)


def test_bad_filters_stay_bad_filters() -> None:
    with pytest.raises(BadFilter, match="unknown filter 'colour'"):
        SearchRequest.model_validate({"text": "x", "filters": {"colour": "red"}})
