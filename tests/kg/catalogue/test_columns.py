from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kg.catalogue.columns import FIELDS, READY, ColumnMap
from kg.errors import BadColumnMap, BadRecord

SHOP = {
    "fields": {
        "id": "sku",
        "title": ["name", "variant"],
        "price": "price",
        "currency": "cur",
        "category": "cat",
        "pictures": "img",
        "boxes": "box",
        "updated_at": "seen",
    },
    "attributes": {"colour": "colour"},
    "defaults": {"seller": "Corner shop", "currency": "eur"},
    "separators": {"colour": ","},
}
ROW = {"sku": " a1 ", "name": "Olive oil", "variant": "500 ml", "price": "1,299.50", "colour": "Green, gold,green"}


def shop(**parts: dict[str, str]) -> ColumnMap:
    return ColumnMap.parse({name: {**part, **parts.get(name, {})} for name, part in SHOP.items()})


def test_record_joins_splits_and_fills_in() -> None:
    product = shop().record(
        ROW | {"cat": "Food > Oil", "img": "a.jpg|b.jpg", "box": "|1 2 30 40", "seen": "2026-05-01"}
    )
    assert (product.id, product.title, product.price, product.currency) == ("a1", "Olive oil 500 ml", 1299.5, "EUR")
    assert (product.category, product.seller) == (("Food", "Oil"), "Corner shop")
    assert product.attributes == (("colour", "Green"), ("colour", "gold"))
    assert [(picture.uri, picture.box) for picture in product.pictures] == [("a.jpg", None), ("b.jpg", (1, 2, 30, 40))]
    assert product.updated_at == datetime(2026, 5, 1, tzinfo=UTC)


def test_json_arrays_split_without_a_separator() -> None:
    row = ROW | {"img": '["a|1.jpg", "b.jpg"]', "box": "[[1,2,3,4], [5,6,7,8]]", "cat": '["A > B", "C"]'}
    product = shop().record(row)
    assert [picture.uri for picture in product.pictures] == ["a|1.jpg", "b.jpg"]
    assert product.pictures[1].box == (5, 6, 7, 8)
    assert product.category == ("A > B", "C")
    assert shop().record(ROW | {"img": "a.jpg", "box": "[1, 2, 3, 4]"}).pictures[0].box == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "decimal", "price", "currency"),
    [
        ("12.5", ".", 12.5, ""),
        ("€ 1,234.00", ".", 1234.0, "EUR"),
        ("£3", ".", 3.0, "GBP"),
        ("1'000.5 CHF", ".", 1000.5, "CHF"),
        ("1.234,50", ",", 1234.5, ""),
        ("", ".", None, ""),
    ],
)
def test_prices(text: str, decimal: str, price: float | None, currency: str) -> None:
    column_map = ColumnMap.parse(
        {
            "fields": {"id": "sku", "title": "name", "price": "price"},
            "separators": {"decimal": decimal},
        }
    )
    product = column_map.record(ROW | {"price": text})
    assert (product.price, product.currency) == (price, currency)


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"sku": "  "}, "id"),
        ({"sku": "x#1"}, "id"),
        ({"sku": "漢" * 43}, "id"),
        ({"price": "cheap"}, "price"),
        ({"price": "12,50"}, "price"),
        ({"price": "-1"}, "price"),
        ({"price": "1e400"}, "price"),
        ({"price": "nan"}, "price"),
        ({"cur": "Euros"}, "currency"),
        ({"seen": "yesterday"}, "updated_at"),
        ({"seen": "9999-12-31T23:59:59-12:00"}, "updated_at"),
        ({"colour": "c" * 201}, "colour"),
        ({"cat": "c" * 201}, "category"),
        ({"colour": "漢" * 90}, "colour"),
        ({"img": "a.jpg", "box": "1 2 three 4"}, "boxes"),
        ({"img": "a.jpg", "box": "9 9 1 1"}, "boxes"),
        ({"img": "a" * 2001}, "pictures"),
        ({"img": "a.jpg", "box": "1 2 3 4|5 6 7 8"}, "boxes"),
        ({"name": "", "variant": ""}, "title"),
    ],
)
def test_a_bad_row_names_field_value_and_rule(cells: dict[str, str], field: str) -> None:
    with pytest.raises(BadRecord) as caught:
        shop().record(ROW | cells)
    assert caught.value.field == field
    assert caught.value.rule


@pytest.mark.parametrize(
    ("parts", "nearest"),
    [
        ({"fields": {"id": "a", "titel": "b"}}, "title"),
        ({"fields": {"id": "a", "title": "b"}, "atributes": {"colour": "c"}}, "attributes"),
        ({"fields": {"id": "a", "title": "b"}, "defaults": {"selller": "c"}}, "seller"),
        ({"fields": {"id": "a", "title": "b"}, "separators": {"decimals": ","}}, "decimal"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(parts: dict[str, dict[str, str]], nearest: str) -> None:
    with pytest.raises(BadColumnMap) as caught:
        ColumnMap.parse(parts)
    assert caught.value.detail["nearest"] == nearest


@pytest.mark.parametrize(
    "parts",
    [
        {"fields": {"title": "b"}},
        {"fields": {"id": "a"}},
        {"fields": {"id": "a", "title": "b"}, "attributes": {"Brand": "c"}},
        {"fields": {"id": "a", "title": "b"}, "separators": {"decimal": ";"}},
        {"fields": {"id": 3, "title": "b"}},
        {},
    ],
)
def test_an_impossible_map_is_refused(parts: dict[str, dict[str, str]]) -> None:
    with pytest.raises(BadColumnMap):
        ColumnMap.parse(parts)


def test_check_names_the_column_and_its_neighbour() -> None:
    with pytest.raises(BadColumnMap, match="unknown column 'sku'") as caught:
        ColumnMap.parse({"fields": {"id": "sku", "title": "name"}}).check(["SKU", "skuu", "name"])
    assert caught.value.detail["nearest"] == "skuu"


def test_toml_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(shop().to_toml(), encoding="utf-8")
    assert ColumnMap.load(path) == shop()


def test_load_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadColumnMap, match="no column map at nowhere") as caught:
        ColumnMap.load("nowhere")
    assert "fashion9k" in caught.value.hint
    (tmp_path / "bad.toml").write_bytes(b"[fields\nid = 3")
    with pytest.raises(BadColumnMap, match="not valid TOML"):
        ColumnMap.load(tmp_path / "bad.toml")


@pytest.mark.parametrize("path", sorted(READY.glob("*.toml")), ids=lambda path: path.stem)
def test_ready_made_maps_load_by_name(path: Path) -> None:
    assert ColumnMap.load(path.stem).fields["id"]


def test_guess() -> None:
    rows = [
        {"Article Number": f"x{i}", "Product Name": f"oil {i}", "cat1": "Food", "cat2": "Oil", "Colour": "red"}
        | {"front": f"p/{i}.JPG", "stock": str(i), "Price": "3"}
        for i in range(20)
    ]
    guessed = ColumnMap.guess(list(rows[0]), rows)
    assert guessed.fields == {
        "id": ("Article Number",),
        "title": ("Product Name",),
        "price": ("Price",),
        "category": ("cat1", "cat2"),
        "pictures": ("front",),
    }
    assert guessed.attributes == {"colour": ("Colour",)}
    guessed.record(rows[0])


def test_guess_finds_the_separator_of_a_category_path() -> None:
    rows = [{"id": str(i), "title": "t", "category": "Home/Kitchen/Pans"} for i in range(9)]
    assert ColumnMap.guess(list(rows[0]), rows).record(rows[0]).category == ("Home", "Kitchen", "Pans")


def test_guess_finds_the_id_although_a_few_rows_are_bad() -> None:
    rows = [{"Name": "oil", "Ref": f"x{i}", "Stock": "3"} for i in range(60)]
    rows[7]["Ref"], rows[9]["Ref"] = "", "x8"
    assert ColumnMap.guess(list(rows[0]), rows).fields == {"id": ("Ref",), "title": ("Name",)}
    named = [{"Item No.": "", "Name": "oil"}, {"Item No.": "1", "Name": "oil"}]
    assert ColumnMap.guess(list(named[0]), named).fields["id"] == ("Item No.",)


def test_guess_gives_up_aloud() -> None:
    with pytest.raises(BadColumnMap, match="no column looks like an id"):
        ColumnMap.guess(["a"], [{"a": "x"}, {"a": "x"}])


def test_the_how_to_names_every_field_and_ready_made_map() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/own-catalogue.md").read_text(encoding="utf-8")
    named = [
        name for line in page.splitlines() if line.startswith("| `") for name in line.split("|")[1].split("`")[1::2]
    ]
    assert sorted(named) == sorted(FIELDS)
    assert all(f"`{path.stem}`" in page or f"--map {path.stem}`" in page for path in READY.glob("*.toml"))
    example = page.split("```toml")[1].split("```")[0]
    ColumnMap.parse(tomllib.loads(example))
