"""A small catalogue of strange values, conditions on it, and what they admit in plain Python."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import strategies as st

from kg.conditions import All, AnyOf, Condition, Leaf, Not

STRANGE = [
    '"',
    "'",
    "\\",
    '\\"',
    "\\n",
    "a\nb",
    "\t\r",
    'O\'Neil "X"',
    "') OR true //",
    "`$brands`",
    "名前",
    "e\u0301",
    "\u00e9",
    "🧴",
    "%_",
    "\x01",
    " ",
    "null",
    "NaN",
    "0",
    "x" * 300,
    "x" * 299 + "y",
    "名" * 1000,
]
PRICES = [None, 0.0, 5e-324, 1e-7, 0.1, 19.99, 20.0, 1e12]
BOUNDS = [datetime(1970, 1, 1, 0, 0, 1), datetime(2026, 2, 28), datetime(9999, 12, 31, 23, 59, 59)]
MOMENTS = [moment.replace(tzinfo=UTC) for moment in BOUNDS]
TREE = {f"category:{text}": f"category:{above}" for text, above in zip(STRANGE, STRANGE[4:], strict=False)}


@dataclass(frozen=True)
class Listing:
    """One product, in keys of the graph; empty or None where it lacks something."""

    id: str
    brand: str
    category: str
    entities: tuple[str, ...]
    seller: str | None
    price: float | None
    updated: datetime | None

    @property
    def linked(self) -> set[str]:
        return {self.brand, self.category, *self.entities} - {""}

    @property
    def categories(self) -> list[str]:
        """Its own and all above."""
        found = [self.category] if self.category else []
        while found and (above := TREE.get(found[-1])):
            found.append(above)
        return found

    def passes(self, leaf: Leaf) -> bool:
        match leaf.name:
            case "brands":
                return self.brand in leaf.value
            case "categories":
                return self.category in leaf.value
            case "entities" | "near" | "graph":
                return not self.linked.isdisjoint(leaf.value)
            case "sellers":
                return self.seller in leaf.value
            case "min_price":
                return self.price is not None and self.price >= leaf.value
            case "max_price":
                return self.price is not None and self.price <= leaf.value
            case "updated_since":
                return self.updated is not None and self.updated >= datetime.fromisoformat(leaf.value)
            case "pattern":
                return self.id in leaf.value
        raise AssertionError(leaf.name)


def listings(seed: int, n: int) -> list[Listing]:
    """Random ones; every strange text is somewhere."""
    rng = random.Random(seed)

    def text() -> str:
        return STRANGE[rng.randrange(len(STRANGE))]

    return [
        Listing(
            id=f"{STRANGE[at % len(STRANGE)][:100]}{at}",
            brand=rng.choice(["", f"brand:{text()}"]),
            category=rng.choice(["", f"category:{text()}"]),
            entities=tuple(sorted({f"colour:{text()}" for _ in range(rng.randrange(4))})),
            seller=rng.choice([None, "", text()]),
            price=rng.choice(PRICES),
            updated=rng.choice([None, *MOMENTS]),
        )
        for at in range(n)
    ]


def below(keys: list[str]) -> list[str]:
    """The keys and all categories below them, as a selection holds them."""
    found = set(keys)
    while more := {key for key, above in TREE.items() if above in found} - found:
        found |= more
    return sorted(found)


texts = st.sampled_from([*STRANGE, "nobody"])


def _keys(*kinds: str) -> st.SearchStrategy[list[str]]:
    keys = st.builds("{}:{}".format, st.sampled_from(kinds), texts)
    return st.lists(keys, max_size=4, unique=True).map(below)


def conditions(ids: list[str], *, patterns: bool) -> st.SearchStrategy[Condition]:
    """Trees of conditions, with values that often are somewhere; `patterns`: also by id."""
    values: dict[str, st.SearchStrategy[object]] = {
        "brands": _keys("brand"),
        "categories": _keys("category"),
        "entities": _keys("colour", "brand", "category"),
        "near": _keys("colour", "brand", "category"),
        "graph": _keys("colour", "brand", "category"),
        "sellers": st.lists(texts, max_size=3, unique=True),
        "min_price": st.sampled_from(PRICES[1:]) | st.floats(0, 1e12),
        "max_price": st.sampled_from(PRICES[1:]) | st.floats(0, 1e12),
        "updated_since": st.sampled_from(MOMENTS).map(datetime.isoformat),
    }
    if patterns:
        values["pattern"] = st.lists(st.sampled_from(ids), max_size=len(ids), unique=True).map(sorted)
    leaf = st.one_of([st.builds(Leaf, st.just(name), value) for name, value in values.items()])

    def joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
        several = st.lists(parts, min_size=1, max_size=3).map(tuple)
        return st.builds(Not, parts) | st.builds(All, several) | st.builds(AnyOf, several)

    return st.recursive(leaf, joined, max_leaves=10)
