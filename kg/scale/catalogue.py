"""What a made-up catalogue holds, shard by shard: listings, their vectors, and which entities are alike.

Brands, leaves of the category tree, sellers and attribute values follow Zipf's law, as in catalogues they do: some are
in every tenth listing, most in a handful. A product has one to five listings by different sellers. Each vector is its
leaf's direction, moved towards those of its brand and colour and by chance: near ones have much in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kg.errors import BadInput
from kg.graph.edges import Edges
from kg.records import Entity, Product, content_hash
from kg.scale.words import BRANCHES, COLOURS, CURRENCY, MATERIALS, SIZES, STEMS, made_up

__all__ = ["SHARD", "Scale"]

SHARD = 5000  # listings of one shard
EDITION = 1  # counts up when the same seed gives another catalogue
MOST = 10_000_000
FAMILY = 8  # brands that are alike
MIDDLE = 6  # categories below each branch, and leaves below each of those
SELLERS = 200
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Scale:
    """A catalogue; equal values give equal catalogues, and the listings of a smaller one begin a larger one of the same
    number of `brands`.

    Attributes:
        listings: how many.
        seed: decides everything.
        dim: length of the vectors.
        brands: different brands; 0: one for every hundred listings, 20 at least and 20,000 at most.
        shares: for each of these fractions an attribute `share` of its value, which that many listings have, whatever
            they are: to measure filters with.

    Raises:
        BadInput: fewer than one listing or dimension, or more than 10,000,000 listings.
    """

    listings: int
    seed: int = 7
    dim: int = 256
    brands: int = 0
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.listings <= MOST:
            raise BadInput(f"{self.listings} listings: a made-up catalogue has 1 to {MOST:,}", field="listings")
        if not 2 <= self.dim <= 4096:
            raise BadInput(f"{self.dim} dimensions: vectors have 2 to 4096", field="dim")
        if self.brands < 0 or self.seed < 0:
            raise BadInput(f"seed {self.seed}, {self.brands} brands: neither can be below 0", field="seed")

    @property
    def key(self) -> str:
        """Identifies the vectors, as the fingerprint of an encoder does."""
        return content_hash(["scale", EDITION, self.listings, self.seed, self.dim, self.brands, self.shares])

    @property
    def shards(self) -> int:
        return -(-self.listings // SHARD)

    def place(self, id: str) -> tuple[int, int]:
        """Shard and row of a listing's id."""
        return divmod(int(id.removeprefix("s")), SHARD)

    def products(self, shard: int) -> list[Product]:
        """The listings of one shard."""
        drawn, luck = self._drawn(shard), self.luck(shard)
        return [self._product(shard, row, drawn, float(luck[row])) for row in range(len(drawn.group))]

    def vectors(self, shard: int) -> NDArray[np.float32]:
        """Unit vectors (N, dim) of the listings of one shard."""
        drawn = self._drawn(shard)
        chance = np.random.default_rng([self.seed, EDITION, shard, 2])
        leaves, brands, colours = self._directions
        own = chance.standard_normal((SHARD, self.dim), np.float32)[drawn.group]
        one = chance.standard_normal((SHARD, self.dim), np.float32)[: len(drawn.group)]
        scale = np.float32(1 / np.sqrt(self.dim))
        mixed = leaves[drawn.leaf] + 0.5 * brands[drawn.brand] + 0.3 * colours[drawn.colour]
        mixed = mixed + scale * (np.float32(0.5) * own + np.float32(0.1) * one)
        return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)

    def luck(self, shard: int) -> NDArray[np.float64]:
        """A number within [0, 1) of each listing (N,): it has those of `shares` that are above."""
        return np.random.default_rng([self.seed, EDITION, shard, 5]).random(SHARD)[: self._size(shard)]

    def edges(self) -> Edges:
        """Brands of one family, leaves below one category and colours side by side, with a weight each."""
        pairs: dict[tuple[str, str], float] = {}
        chance = np.random.default_rng([self.seed, EDITION, 3])

        def join(keys: list[str]) -> None:
            for at, a in enumerate(keys):
                for b in keys[at + 1 :]:
                    pairs[min(a, b), max(a, b)] = round(float(chance.uniform(0.6, 0.95)), 4)

        brands = [Entity(type="brand", text=made_up(number)).key for number in range(self._brands)]
        for start in range(0, len(brands), FAMILY):
            join(brands[start : start + FAMILY])
        leaves = [leaf.key for leaf in self._tree]
        for start in range(0, len(leaves), MIDDLE):
            join(leaves[start : start + MIDDLE])
        for first, second in pairwise(COLOURS):
            join([Entity(type="colour", text=text).key for text in (first, second)])
        keys = sorted({key for pair in pairs for key in pair})
        number = {key: at for at, key in enumerate(keys)}
        ordered = sorted((number[a], number[b], weight) for (a, b), weight in pairs.items())
        ends = np.array([(a, b) for a, b, _ in ordered], np.int64).reshape(-1, 2)
        weights = np.array([weight for _, _, weight in ordered], np.float32)
        return Edges("text", keys, (ends[:, 0], ends[:, 1]), weights, generation=f"scale-{self.key[:10]}")

    def queries(self, count: int) -> NDArray[np.float32]:
        """Unit vectors (count, dim) of what somebody looks for: each near some leaf and brand, and no listing's own."""
        chance = np.random.default_rng([self.seed, EDITION, 4])
        leaves, brands, _ = self._directions
        leaf = _zipf(chance, self._leaves, count, 0.8)
        mixed = leaves[leaf] + 0.5 * brands[_zipf(chance, self._brands, count, 1.0)]
        mixed = mixed + chance.standard_normal((count, self.dim)) * (0.5 / np.sqrt(self.dim))
        return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)

    @property
    def _brands(self) -> int:
        return self.brands or int(np.clip(self.listings // 100, 20, 20_000))

    @property
    def _leaves(self) -> int:
        return len(BRANCHES) * MIDDLE * MIDDLE

    def _leaf(self, number: int) -> Entity:
        middle = number // MIDDLE
        branch = BRANCHES[middle // MIDDLE]
        path = (branch, f"{STEMS[middle % MIDDLE]} {branch}", f"{made_up(7000 + number)}s")
        return Entity(type="category", text=path[-1], path=path)

    @cached_property
    def _directions(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Of leaves, brands and colours; those of one middle category, and of one family, lie near each other."""
        chance = np.random.default_rng([self.seed, EDITION, 1])

        def near(many: int, each: int) -> NDArray[np.float32]:
            groups = chance.standard_normal((-(-many // each), self.dim))
            moved = np.repeat(groups, each, axis=0)[:many] + 0.8 * chance.standard_normal((many, self.dim))
            return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)

        return near(self._leaves, MIDDLE), near(self._brands, FAMILY), near(len(COLOURS), 1)

    def _size(self, shard: int) -> int:
        return min(SHARD, self.listings - shard * SHARD)

    def _drawn(self, shard: int) -> _Drawn:
        """What chance decides of one shard, array by array."""
        size = self._size(shard)
        chance = np.random.default_rng([self.seed, EDITION, shard, 0])
        offers = 1 + np.minimum(chance.geometric(0.55, SHARD) - 1, 4)
        group = np.repeat(np.arange(SHARD), offers)[:SHARD]

        def each(values: NDArray[np.int64]) -> NDArray[np.int64]:
            return values[group][:size]

        return _Drawn(
            group=group[:size],
            brand=each(_zipf(chance, self._brands, SHARD, 1.0)),
            leaf=each(_zipf(chance, self._leaves, SHARD, 0.8)),
            colour=each(_zipf(chance, len(COLOURS), SHARD, 0.7)),
            material=each(_zipf(chance, len(MATERIALS), SHARD, 0.7)),
            size=each(_zipf(chance, len(SIZES), SHARD, 0.7)),
            other=each(chance.integers(0, self._brands, SHARD)),
            base=np.exp(chance.normal(3.2, 0.9, SHARD))[group][:size],
            seller=_zipf(chance, SELLERS, SHARD, 0.8)[:size],
            ask=chance.uniform(0.85, 1.2, SHARD)[:size],
            hour=chance.integers(0, 8000, SHARD)[:size],
        )

    def _product(self, shard: int, row: int, drawn: _Drawn, luck: float) -> Product:
        brand, leaf = made_up(int(drawn.brand[row])), self._tree[drawn.leaf[row]]
        colour, material = COLOURS[drawn.colour[row]], MATERIALS[drawn.material[row]]
        group = int(drawn.group[row])
        goes_with = f" Goes with those of {made_up(int(drawn.other[row]))}." if group % 10 == 0 else ""
        shares = [("share", f"{share:g}") for share in self.shares if luck < share]
        return Product(
            id=f"s{shard * SHARD + row:08}",
            title=f"{brand} {leaf.text[:-1]} {colour} {group % 97}",
            description=f"Made of {material}.{goes_with}",
            url=f"https://shop.example/s{shard * SHARD + row:08}",
            seller=f"shop {int(drawn.seller[row])}",
            price=round(float(drawn.base[row] * drawn.ask[row]), 2),
            currency=CURRENCY,
            identity=f"g{shard:05}-{group:04}",
            updated_at=BEGIN + timedelta(hours=int(drawn.hour[row])),
            brand=brand,
            category=leaf.path,
            attributes=(("colour", colour), ("material", material), ("size", SIZES[drawn.size[row]]), *shares),
        )

    @cached_property
    def _tree(self) -> list[Entity]:
        return [self._leaf(number) for number in range(self._leaves)]

    def all_products(self) -> Iterator[Product]:
        """Every listing, in order."""
        for shard in range(self.shards):
            yield from self.products(shard)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Of the listings of one shard: numbers of names, and the number of the product within the shard (`group`)."""

    group: NDArray[np.int64]
    brand: NDArray[np.int64]
    leaf: NDArray[np.int64]
    colour: NDArray[np.int64]
    material: NDArray[np.int64]
    size: NDArray[np.int64]
    other: NDArray[np.int64]
    base: NDArray[np.float64]
    seller: NDArray[np.int64]
    ask: NDArray[np.float64]
    hour: NDArray[np.int64]


def _zipf(chance: np.random.Generator, many: int, size: int, exponent: float) -> NDArray[np.int64]:
    """Numbers below `many`, the n-th with a probability of 1 / (n + 1) ** exponent."""
    weights = 1 / np.arange(1, many + 1) ** exponent
    return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], chance.random(size)).astype(np.int64)
