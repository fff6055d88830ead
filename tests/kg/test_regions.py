from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.errors import BadInput
from kg.records import Product
from kg.regions import PixelBox, pixel_box, region_id, split_region
from kg.vectors.schema import FIELDS

LARGEST = 50_000_000  # pixels along one side of a picture that is one pixel wide, at the default limit

products = st.text(st.characters(exclude_characters="#", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=128)
instances = st.builds(lambda product, n: f"{product}#img{n}", products, st.integers(0, 10**6))
sides = st.integers(0, LARGEST)
boxes = st.tuples(sides, sides, sides, sides).map(
    lambda s: PixelBox(min(s[0], s[2]), min(s[1], s[3]), max(s[0], s[2]) + 1, max(s[1], s[3]) + 1)
)


@given(instances, boxes)
def test_a_region_id_gives_back_instance_and_box_and_fits_the_key(instance: str, box: PixelBox) -> None:
    found = region_id(instance, box)
    assert split_region(found) == (instance, box)
    assert len(found) <= FIELDS["instance_id"].limit


@given(products, st.integers(0, 10**6))
def test_no_instance_looks_like_a_region(product: str, number: int) -> None:
    for instance in (f"{product}#img{number}", f"{product}#txt"):
        assert split_region(instance) == (instance, None)


@given(st.text(max_size=60))
def test_splitting_and_joining_again_changes_nothing(text: str) -> None:
    instance, box = split_region(text)
    assert (instance if box is None else region_id(instance, box)) == text


def test_a_product_named_like_a_region_is_told_apart() -> None:
    product = Product(id="1,2,3,4", title="odd")
    assert split_region(f"{product.id}#img0") == ("1,2,3,4#img0", None)
    assert split_region(f"{product.id}#img0#1,2,3,4") == ("1,2,3,4#img0", (1, 2, 3, 4))


@pytest.mark.parametrize(
    "text", ["", "p", "p#img0", "p#img0#1,2,3", "p#img0#01,2,3,4", "p#img0#3,2,1,4", "p#img0#-1,2,3,4", "#1,2,3,4"]
)
def test_what_is_no_region(text: str) -> None:
    assert split_region(text) == (text, None)


def test_fractions_grow_to_whole_pixels() -> None:
    assert region_id("p#img0", (1.2, 2.0, 3.1, 4.9)) == "p#img0#1,2,4,5"
    assert pixel_box([0.0, 0.4, 0.5, 0.6]) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    "box",
    [
        (3, 2, 1, 4),
        (1, 4, 3, 2),
        (1, 2, 1, 4),
        (-1, 2, 3, 4),
        (1, 2, 3),
        (0, 0, float("inf"), 1),
        (0, float("nan"), 1, 1),
    ],
)
def test_boxes_that_are_none(box: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="0 <= x1 < x2"):
        region_id("p#img0", box)


def test_ids_that_cannot_be() -> None:
    with pytest.raises(BadInput, match="not to another region"):
        region_id("p#img0#1,2,3,4", (1, 2, 3, 4))
    with pytest.raises(BadInput, match="not to another region"):
        region_id("", (1, 2, 3, 4))
    with pytest.raises(BadInput, match="at most 200"):
        region_id("p" * 195, (1, 2, 3, 4))
