"""What the sample shop sells: brands that do not exist, families of look-alikes, invented from a seed.

A family is one brand, kind and shape; its products differ in scent or size only, so that finding the very same product
is a task of its own and not a matter of category.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["COLOURS", "Design", "invent"]

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "white": (244, 243, 238),
    "black": (38, 38, 42),
    "cream": (238, 222, 188),
    "brown": (122, 78, 48),
    "red": (200, 44, 48),
    "orange": (236, 130, 40),
    "yellow": (244, 206, 66),
    "green": (66, 140, 74),
    "mint": (158, 214, 186),
    "teal": (30, 126, 132),
    "blue": (48, 92, 176),
    "sky": (142, 192, 232),
    "purple": (126, 88, 168),
    "pink": (236, 156, 180),
    "grey": (150, 152, 156),
}
# Scent or flavour = colour of the label.
SCENTS = {
    "lavender": "purple",
    "lemon": "yellow",
    "mint": "mint",
    "rose": "pink",
    "ocean": "blue",
    "coconut": "white",
    "vanilla": "cream",
    "charcoal": "black",
    "aloe": "green",
    "orange blossom": "orange",
    "cotton": "sky",
    "cedar": "teal",
}
FLAVOURS = {
    "strawberry": "red",
    "orange": "orange",
    "lemon": "yellow",
    "apple": "green",
    "blueberry": "blue",
    "plum": "purple",
    "chocolate": "brown",
    "honey": "cream",
    "peppermint": "mint",
    "raspberry": "pink",
    "liquorice": "black",
    "classic": "teal",
}
ML, LARGE_ML, GRAM, LARGE_GRAM = ("250 ml", "500 ml"), ("750 ml", "1.5 l"), ("200 g", "400 g"), ("500 g", "1 kg")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of product: its place in the tree, its shapes with their material, its sizes, its scents or flavours."""

    name: str
    path: tuple[str, ...]
    shapes: tuple[tuple[str, str], ...]
    sizes: tuple[str, str]
    price: float  # EUR, of the smaller size
    scents: dict[str, str]


def _kinds() -> list[Kind]:
    plastic, glass, paper, metal = "plastic", "glass", "paper", "aluminium"
    rows = [
        ("Shampoo", "Care/Hair", [("bottle", plastic), ("pump", plastic)], ML, 4.5),
        ("Conditioner", "Care/Hair", [("bottle", plastic), ("tube", plastic)], ML, 4.9),
        ("Hair mask", "Care/Hair", [("jar", plastic)], GRAM, 7.5),
        ("Body lotion", "Care/Body", [("pump", plastic), ("tube", plastic)], ML, 6.2),
        ("Shower gel", "Care/Body", [("bottle", plastic)], ML, 2.9),
        ("Soap bar", "Care/Body", [("wide box", paper)], GRAM, 2.2),
        ("Hand cream", "Care/Body", [("tube", metal)], ("75 ml", "150 ml"), 3.4),
        ("Face cream", "Care/Face", [("jar", glass)], ("50 ml", "100 ml"), 14.0),
        ("Serum", "Care/Face", [("dropper", glass)], ("30 ml", "50 ml"), 19.0),
        ("Toothpaste", "Care/Teeth", [("tube", plastic), ("wide box", paper)], ("75 ml", "125 ml"), 2.6),
        ("Surface spray", "Household/Cleaning", [("spray", plastic)], LARGE_ML, 3.8),
        ("Dish soap", "Household/Cleaning", [("bottle", plastic)], ML, 2.1),
        ("Laundry powder", "Household/Laundry", [("box", paper)], LARGE_GRAM, 6.8),
        ("Candle", "Household/Candles", [("jar", glass)], GRAM, 9.9),
        ("Juice", "Pantry/Drinks", [("carton", paper), ("slim", glass)], LARGE_ML, 2.4),
        ("Lemonade", "Pantry/Drinks", [("can", metal), ("slim", glass)], ("330 ml", "500 ml"), 1.6),
        ("Tea", "Pantry/Drinks", [("box", paper), ("can", metal)], ("50 g", "100 g"), 4.2),
        ("Jam", "Pantry/Spreads", [("tall jar", glass)], GRAM, 3.1),
        ("Muesli", "Pantry/Breakfast", [("box", paper)], LARGE_GRAM, 4.4),
        ("Yoghurt", "Pantry/Breakfast", [("tall jar", glass), ("jar", plastic)], GRAM, 1.9),
    ]
    return [
        Kind(
            name,
            (*path.split("/"), name),
            tuple(shapes),
            sizes,
            price,
            FLAVOURS if path.startswith("Pantry") else SCENTS,
        )
        for name, path, shapes, sizes, price in rows
    ]


@dataclass(frozen=True, slots=True)
class Brand:
    name: str
    mark: str  # shape of the logo
    accent: str  # its colour
    body: str  # of plastic and lids
    pattern: str  # of the label


@dataclass(frozen=True, slots=True)
class Design:
    """One product, as drawn and as described."""

    gtin: str
    brand: Brand
    kind: Kind
    shape: str
    material: str
    scent: str
    size: str

    @property
    def colour(self) -> str:
        return self.kind.scents[self.scent]

    @property
    def large(self) -> bool:
        return self.size == self.kind.sizes[1]

    @property
    def price(self) -> float:
        return self.kind.price * (1.75 if self.large else 1.0)


MARKS = ("disc", "ring", "leaf", "star", "drop", "diamond", "peak", "wave", "cross", "moon")
PATTERNS = ("plain", "band", "stripes", "dots", "split", "arch")
NAMES = (
    "Almiro", "Bellaqua", "Corvana", "Dunelle", "Evergild", "Fjordal", "Gentia", "Halvard", "Isolde & Co", "Juniper",
    "Kestrel", "Lumora", "Marlow", "Nordhus", "Oatfield", "Piccolo", "Quillon", "Rosmarie", "Solvanna", "Tiefbach",
    "Umbria", "Veloura", "Wrenwood", "Yarrow",
)  # fmt: skip


def _brands(chance: random.Random) -> list[Brand]:
    """Names with looks of their own: no two share mark and accent."""
    looks = [
        (mark, accent) for mark in MARKS for accent in ("red", "blue", "green", "black", "purple", "orange", "teal")
    ]
    chance.shuffle(looks)
    return [
        Brand(name, mark, accent, chance.choice(("white", "cream", "black", "grey", accent)), chance.choice(PATTERNS))
        for name, (mark, accent) in zip(NAMES, looks, strict=False)
    ]


def invent(seed: int, products: int) -> list[Design]:
    """`products` different designs, family by family; the same seed gives the same shop, a larger one begins alike."""
    chance = random.Random(f"designs:{seed}")
    brands, kinds = _brands(chance), _kinds()
    families = [(brand, kind, *shape) for brand in brands for kind in kinds for shape in kind.shapes]
    chance.shuffle(families)
    designs: list[Design] = []
    for brand, kind, shape, material in families:
        scents = chance.sample(list(kind.scents), chance.randint(2, 3))
        members = [(scent, kind.sizes[0]) for scent in scents] + [(scents[0], kind.sizes[1])]
        for scent, size in members:
            designs.append(Design(_gtin(len(designs)), brand, kind, shape, material, scent, size))
    if products > len(designs):
        raise ValueError(f"products = {products}: the shop has no more than {len(designs)}")
    return designs[:products]


def _gtin(number: int) -> str:
    """A GTIN-13 of the range kept for use inside a shop (prefix 20), with its check digit."""
    digits = f"20{number:010}"
    odd, even = sum(map(int, digits[::2])), sum(map(int, digits[1::2]))
    return f"{digits}{-(odd + 3 * even) % 10}"
