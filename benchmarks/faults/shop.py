"""A catalogue that changes while it is served: a still half that searches ask about, and a half that moves."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from benchmarks.faults.load import Ask
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.sample import write_sample
from kg.stores import Stores

__all__ = ["Shop"]

MAP = {
    "fields": {
        "id": "id", "title": "title", "brand": "brand", "category": "category", "price": "price", "pictures": "picture"
    }
}  # fmt: skip
KINDS = ("jar", "lamp", "soap", "candle", "bottle", "basket", "towel", "brush", "mirror", "bowl")
LOOKS = ("amber", "blue", "cedar", "dusk", "elm", "frost", "grey", "hazel", "ivory", "jade", "khaki", "lilac")
STILL, MOVING = "still", "moving"
SIDE = 96  # pixels: reading pictures is not what is measured
TITLES = "MATCH (p:Product) RETURN p.id AS id, p.title AS title"


@dataclass
class Shop:
    """Products with a text and a picture each: two instances; `pictures` different files are shared by all.

    Attributes:
        editions: product → how often it was changed.
    """

    folder: Path
    products: int
    pictures: int = 24
    seed: int = 0
    editions: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        sample = write_sample(self.folder / "sample", products=self.pictures)
        found = sorted(sample.images.glob("*.*"))[: self.pictures]
        self.shown = [_small(path, self.folder / path.name) for path in found]

    @property
    def table(self) -> Path:
        return self.folder / "shop.csv"

    def change(self, count: int, chance: random.Random) -> None:
        """Give some products of the moving half another title."""
        self.editions.update(chance.sample(range(1, self.products, 2), min(count, self.products // 2)))

    def title(self, number: int) -> str:
        edition = f" edition {self.editions[number]}" if self.editions[number] else ""
        return f"{LOOKS[number % len(LOOKS)]} {KINDS[number % len(KINDS)]} number {number}{edition}"

    def ingest(self, stores: Stores) -> None:
        """Bring the graph up to the table. Killed anywhere, it may be done again.

        Raises:
            StoreDown: the graph does not answer.
        """
        with self.table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "title", "brand", "category", "price", "picture"])
            for number in range(self.products):
                half = MOVING if number % 2 else STILL
                category = f"{half} > {half} {KINDS[number % len(KINDS)]}"
                picture = Path(self.shown[number % len(self.shown)]).name
                price = f"{1 + number % 90}.50"
                writer.writerow([f"s{number}", self.title(number), f"maker {number % 40}", category, price, picture])
        ingest(stores, self.table, self.folder, ColumnMap.parse(MAP))

    def lost(self, stores: Stores) -> list[str]:
        """Products that the graph does not hold as the table has them."""
        held = {row["id"]: row["title"] for row in stores.graph.read(TITLES)}
        wanted = {f"s{number}": self.title(number) for number in range(self.products)}
        return sorted(name for name in wanted | held if wanted.get(name) != held.get(name))

    def asks(self, count: int, k: int = 10) -> Sequence[Ask]:
        """Questions about the still half, whose answers only another encoder changes: by words (the full-text index,
        whose scores depend on what moves, is left out) and by an example."""
        chance, still = random.Random(self.seed), range(0, self.products, 2)
        found: list[Ask] = []
        for number in chance.sample(still, min(count, len(still))):
            if len(found) % 3:
                what: Ask = {"text": self.title(number), "weights": {"lexical": 0}}
            else:
                what = {"like": f"s{number}"}
            found.append({**what, "k": k, "filters": {"category": STILL}})
        return found


def _small(source: Path, target: Path) -> Path:
    with Image.open(source) as image:
        image.thumbnail((SIDE, SIDE))
        image.convert("RGB").save(target)
    return target
