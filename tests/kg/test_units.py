"""Pack sizes: what is said without doubt is read, everything else is None."""

from __future__ import annotations

import pytest

from kg.units import Pack, UnitPrice, pack_of, pack_size, unit_price


@pytest.mark.parametrize(
    ("text", "amount", "dimension"),
    [
        ("Olive oil 500ml", 500, "ml"),
        ("Olive oil 500 ML", 500, "ml"),
        ("Cola 1.5 L", 1500, "ml"),
        ("Cola 1,5 Liter", 1500, "ml"),
        ("Milk 0,750 l", 750, "ml"),
        ("Wine 75cl", 750, "ml"),
        ("Shampoo 2 x 500 ml", 1000, "ml"),
        ("Shampoo 2×500ml", 1000, "ml"),
        ("Shampoo 2er-Pack 2 x 500 ml", 1000, "ml"),
        ("6 bottles of 330 ml", 1980, "ml"),
        ("6 Flaschen à 0,5 l", 3000, "ml"),
        ("精华液30ml*2", 60, "ml"),
        ("精华液30ml*2瓶", 60, "ml"),
        ("洗发水500毫升", 500, "ml"),
        ("面膜 25ml×5片", 125, "ml"),
        ("Flour 1 kg", 1000, "g"),
        ("大米500G", 500, "g"),
        ("大米2.5公斤", 2500, "g"),
        ("Coffee 500 g (1.1 lb)", 500, "g"),
        ("Juice 500 ml (0.5 L)", 500, "ml"),
        ("Gloves, 12 pcs", 12, "piece"),
        ("Gloves 100片", 100, "piece"),
        ("Socks 6-pack", 6, "piece"),
        ("Socks 3er-Pack", 3, "piece"),
        ("Socks, pack of 5", 5, "piece"),
        ("抽纸100抽*24包", 2400, "piece"),
        ("３００ｍｌ", 300, "ml"),
        ("眼霜20ml*2套装", 40, "ml"),
        ("Sun cream SPF50+ 50ml", 50, "ml"),
        ("Cola 6 cans x 330 ml", 1980, "ml"),
        ("Bier 20 x 0,5 l, 20 Flaschen", 10000, "ml"),
        ("EAN 4006381333931 glue 50 ml", 50, "ml"),
    ],
)
def test_what_is_said_without_doubt(text: str, amount: float, dimension: str) -> None:
    pack = pack_size(text)
    assert pack is not None
    assert (pack.amount, pack.dimension) == (pytest.approx(amount), dimension)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Table lamp",
        "6-pack, 330 ml",  # each, or together?
        "20 sachets 40 g",
        "3 x 2 x 500 ml",
        "100 ml and 200 ml",
        "500 ml + 50 ml free",
        "Chicken 250-300 g",
        "5 g/100 ml",
        "2.50 per 100 g",
        "1,500 g",  # a kilogram and a half, or a gram and a half
        "1.500 g",
        "Phone 5G",
        "Phone 4G 128GB",
        "Ibuprofen 400 mg",
        "½ l",
        "Frame 20 x 30 cm",
        "Soap 8 oz",  # of weight, or fluid
        "500 g 500 ml",
        "0 ml",
        "iPhone12 pcs2",
        "100 pcs, 3-pack",
        "绿水400ml+洗面奶400ml",
        "面霜50ml水30ml洁面30ml礼盒",
        "面霜80g套装",  # of one thing in the set
        "护肤品4件套",
        "精华露双瓶50ml",
        "洗面奶 拍2包邮",
        "Gift set 300 ml",
        "10000000000 kg",
        "Cola 6 cans 330 ml",
        "Bier 24 Dosen 0,33 l",
        "Cola 6er 330 ml",
        "Cola 0,33 l 6er",
        "Doppelpack Reis 500 g",
        "Sixpack 0,33 l",
        "Tea 20 bags 1.75 g",
        "面霜50g买一送一",
        "1 500 g",
        "Mehl 1'500 g",
        "Mehl 1’500 g",
        "2 to 3 l",
        "2 bis 3 l",
        "Phone 128G",
        "Rack for 6 bottles",
        "9" * 400 + " pcs",
        "9" * 5000 + " pcs",
        "9" * 400 + " x 2 ml",
        "2 ml x " + "9" * 400,
        "9" * 5000 + "G",
        "0." + "0" * 320 + "1 ml",
    ],
)
def test_doubt_is_none(text: str) -> None:
    assert pack_size(text) is None


def test_attributes_help_and_must_agree() -> None:
    assert pack_of("Olive oil", ["green", "500 ml"]) == Pack(500, "ml")
    assert pack_of("Olive oil 0.5 l", ["500 ml"]) == Pack(500, "ml")
    assert pack_of("Olive oil 500 ml", ["750 ml"]) is None
    assert pack_of("Olive oil", ["green"]) is None


def test_unit_price_has_its_unit_and_currency() -> None:
    assert unit_price(4.5, "EUR", Pack(750, "ml")) == UnitPrice(0.6, "100 ml", "EUR")
    assert unit_price(3.0, "USD", Pack(12, "piece")) == UnitPrice(0.25, "piece", "USD")
    assert unit_price(3.0, "USD", None) is None
