"""How much a pack holds, read from titles and attributes, and what 100 ml, 100 g or a piece of it then costs.

Only what is said without doubt counts: a multiplication that is written out (`6 x 330 ml`, `30ml*2`), one measure
(`1.5 L`), or one number of pieces (`12 pcs`, `3er-Pack`, `100片`). Where a text leaves room for two readings (`6-pack,
330 ml`: each, or together?) there is no pack size: a wrong unit price is worse than none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Dimension", "Pack", "UnitPrice", "pack_of", "pack_size", "unit_price"]

Dimension = Literal["ml", "g", "piece"]

PER: dict[Dimension, tuple[float, str]] = {"ml": (100, "100 ml"), "g": (100, "100 g"), "piece": (1, "piece")}
AGREE = 0.02  # share by which two measures may differ and still be one, rounded (500 g, 1.1 lb)
SMALLEST, LARGEST = 0.01, 1e7  # ml, g or pieces; what is beyond is no pack
SMALL_G = 10  # "5G" is no five grams,
STORAGE = (16, 32, 64, 128, 256, 512)  # "128G" no weight either

MEASURES: dict[str, tuple[Dimension, float]] = {
    **dict.fromkeys(("ml", "millilitre", "millilitres", "milliliter", "milliliters", "毫升"), ("ml", 1.0)),
    "cl": ("ml", 10.0),
    "dl": ("ml", 100.0),
    **dict.fromkeys(("l", "ltr", "litre", "litres", "liter", "liters", "升"), ("ml", 1000.0)),
    **dict.fromkeys(("g", "gr", "gram", "grams", "gramm", "克"), ("g", 1.0)),
    **dict.fromkeys(("kg", "kilo", "kilos", "kilogram", "kilograms", "千克", "公斤"), ("g", 1000.0)),
    **dict.fromkeys(("lb", "lbs"), ("g", 453.59237)),
}
PIECES = (
    "pcs", "pc", "pieces", "piece", "stück", "stk", "count", "ct", "tablets", "tabletten", "capsules", "kapseln",
    "sheets", "wipes", "rolls", "rollen", "teabags", "sachets", "片", "个", "個", "只", "粒", "枚", "抽", "支", "瓶",
    "袋", "盒", "包", "罐", "条",
)  # fmt: skip
# They count what holds a measure, and are no pieces by themselves: "rack for 6 bottles".
VESSELS = (
    "bottle", "bottles", "can", "cans", "jar", "jars", "tin", "tins", "tube", "tubes", "bag", "bags", "pouch",
    "pouches", "box", "boxes", "carton", "cartons", "bar", "bars", "cup", "cups", "flaschen", "dosen", "gläser",
    "tuben", "beutel", "teebeutel", "tüten", "kartons", "riegel", "becher", "träger",
)  # fmt: skip
EACH = r"(?:each|je|à|of|pro\s+stück)"

LATIN_END = r"(?![a-zß-ɏ])"
ENDS = {"包": "(?!邮)"}  # "包邮" is free delivery
START = r"(?<![.,/⁄])(?<![^\W\u3040-\u9fff])"  # not inside a number or a Latin word; Chinese has no spaces
NUMBER = START + r"(\d+(?:[.,]\d+)?)"
COUNT = r"(\d{1,7})"
WHOLE = START + COUNT
TIMES = r"\s*[x×*]\s*"


def _words(words: Iterable[str]) -> str:
    """Alternatives, the longest first; a word of Latin letters ends where it ends."""
    found = sorted(words, key=len, reverse=True)
    return "(?:" + "|".join(re.escape(w) + ENDS.get(w, "" if w[0] >= "\u3040" else LATIN_END) for w in found) + ")"


MEASURE, PIECE, VESSEL = f"({_words(MEASURES)})", _words(PIECES), _words(VESSELS)
PACKS = rf"(?:pack|packung|packungen|packs|pk|set|sets|multipack|box){LATIN_END}"

# Each a reading of a whole stretch of text; tried in this order, so that no part of one is read again as another.
MULTIPLIED = re.compile(rf"{WHOLE}\s*(?:{PIECE}|{PACKS}|{VESSEL})?{TIMES}(\d+(?:[.,]\d+)?)\s*{MEASURE}")
MULTIPLIED_AFTER = re.compile(rf"{NUMBER}\s*{MEASURE}{TIMES}{COUNT}(?![.,]?\d)\s*(?:{PIECE}|{PACKS}|{VESSEL})?")
OF_EACH = re.compile(rf"{WHOLE}\s*(?:{PIECE}|[- ]?{PACKS}|{VESSEL})\s*{EACH}\s*(\d+(?:[.,]\d+)?)\s*{MEASURE}")
PIECES_TIMES = re.compile(rf"{WHOLE}\s*{PIECE}?{TIMES}{COUNT}\s*{PIECE}")
ONE_MEASURE = re.compile(rf"{NUMBER}\s*{MEASURE}")
PIECES_ALONE = re.compile(
    rf"{WHOLE}\s*(?:-?\s*er)?\s*-?\s*(?:{PIECE}|{PACKS})|(?:pack|set|box)\s+of\s+{COUNT}(?![.,]?\d)"
)
VESSELS_ALONE = re.compile(rf"{WHOLE}\s*(?:{VESSEL}|-?\s*er{LATIN_END})")
# What makes any reading doubtful: a third factor, a range, a share of something, a sum.
FACTOR = re.compile(rf"\d\s*[x×*]\s*\d+(?:[.,]\d+)?\s*{_words([*MEASURES, *PIECES])}?\s*[x×*]\s*\d")
DOUBTFUL = re.compile(
    rf"\d\s*(?:[-–~]|to|or|bis|oder)\s*\d+(?:[.,]\d+)?\s*{_words(MEASURES)}"  # 250-300 g
    rf"|(?:/|⁄|\bper\b)\s*\d*(?:[.,]\d+)?\s*{_words(MEASURES)}"  # 5 g/100 ml
    rf"|\d\s*[.,'’ ]\d{{3}}(?!\d)\s*{_words(MEASURES)}"  # 1,500 g, 1 500 g; 0.750 l is let through below
    r"|\d{8}\s*[x×*]|[x×*]\s*\d{8}"  # no number of packs
    rf"|{_words(MEASURES)}\s*/\s*\d+(?:[.,]\d+)?\s*(?:{PIECE}|{_words(MEASURES)})"
)
SUN = re.compile(r"\b(?:spf|lsf)\s*\d+\+*|\bpa\+{1,4}")  # the only plus that adds nothing
ASSORTED = re.compile(
    rf"套装|套裝|套盒|套组|乳套|件套|礼盒|三部曲|双[瓶支件]|[两二三四五六七八九十][瓶支件个]|[买買].[送赠贈]|\b(?:set|kit|bundle|combo){LATIN_END}"
    rf"|\b(?:doppel|zweier|dreier|vierer|fünfer|sechser|twin|duo|double|triple|trio|six|multi)[- ]?pack"
)
LEADING_ZERO = re.compile(r"(?<!\d)0[.,]\d{3}(?!\d)")


@dataclass(frozen=True)
class Pack:
    """What a pack holds in all: `amount` millilitres, grams or pieces."""

    amount: float
    dimension: Dimension


@dataclass(frozen=True)
class UnitPrice:
    """`value` in `currency` for each `per` ("100 ml", "100 g", "piece")."""

    value: float
    per: str
    currency: str


def pack_size(text: str) -> Pack | None:
    """The pack that a text speaks of; None where it says nothing of it, or may be read in two ways."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"(?<=\d)\s*G(?![A-Za-zß-ɏ])", lambda found: _gram(text, found), text).casefold()
    text = LEADING_ZERO.sub(lambda found: found[0].rstrip("0"), SUN.sub(" ", text))
    if "+" in text or FACTOR.search(text) or DOUBTFUL.search(text):
        return None
    readings: list[tuple[str, Pack]] = []  # unit as written, and the whole that it gives
    factors: set[int] = set()
    for rule, order in ((MULTIPLIED, (0, 1, 2)), (MULTIPLIED_AFTER, (2, 0, 1)), (OF_EACH, (0, 1, 2))):
        for found in rule.finditer(text):
            times, amount, unit = (found.groups()[at] for at in order)
            readings.append((unit, _measured(amount, unit, int(times))))
            factors.add(int(times))
        text = rule.sub(" ; ", text)
    counts = [int(a) * int(b) for a, b in PIECES_TIMES.findall(text)]
    text = PIECES_TIMES.sub(" ; ", text)
    readings += [(unit, _measured(amount, unit)) for amount, unit in ONE_MEASURE.findall(text)]
    text = ONE_MEASURE.sub(" ; ", text)
    counts += [int(a or b) for a, b in PIECES_ALONE.findall(text)]
    if not readings:
        readings = [(str(place), Pack(float(count), "piece")) for place, count in enumerate(counts)]
    elif {*counts, *map(int, VESSELS_ALONE.findall(text))} - factors or (not factors and ASSORTED.search(text)):
        return None  # a number of pieces beside a measure: each, or in all? And of a set it is one thing's measure
    units, packs = [unit for unit, _ in readings], [pack for _, pack in readings]
    if not packs or len(set(units)) < len(units) or not _alike(packs):  # one unit twice: of two things
        return None
    return packs[0] if SMALLEST <= packs[0].amount <= LARGEST else None


def pack_of(title: str, attributes: Iterable[str] = ()) -> Pack | None:
    """The pack of a listing: by its title and by each attribute that speaks of one; None where these differ."""
    found = [pack for text in (title, *attributes) if (pack := pack_size(text))]
    return found[0] if found and _alike(found) else None


def unit_price(price: float, currency: str, pack: Pack | None) -> UnitPrice | None:
    """What 100 ml, 100 g or a piece costs; None where the pack is not known."""
    if pack is None:
        return None
    amount, name = PER[pack.dimension]
    return UnitPrice(round(price / pack.amount * amount, 4), name, currency)


def _measured(amount: str, unit: str, times: int = 1) -> Pack:
    dimension, size = MEASURES[unit]
    return Pack(float(amount.replace(",", ".")) * size * times, dimension)


def _alike(packs: Iterable[Pack]) -> bool:
    """All of one dimension and, but for rounding, one amount."""
    packs = list(packs)
    amounts = [pack.amount for pack in packs]
    return len({pack.dimension for pack in packs}) == 1 and max(amounts) - min(amounts) <= AGREE * max(amounts)


def _gram(text: str, found: re.Match[str]) -> str:
    """A capital G after a number is a gram only where the number is no generation of mobile telephony, and no storage
    of a telephone."""
    number = re.search(r"\d{1,9}$", text[max(found.start() - 9, 0) : found.start()])
    return found[0] if number and int(number[0]) >= SMALL_G and int(number[0]) not in STORAGE else " generation"
