"""The sample catalogue: rendered, deterministic, free to use; the demo's and the tests' data.

A folder holds `listings.csv` with its `map.toml`, `images/` (listing photos, and scenes of several products),
`scenes.jsonl` (the true boxes), and for evaluation `queries.jsonl` with photos that no listing shows and `qrels.txt`.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from kg.sample.captions import description, title
from kg.sample.designs import Design, invent
from kg.sample.packaging import draw
from kg.sample.photos import photograph, scene

__all__ = ["SamplePaths", "write_sample"]

EDITION = 1  # counts up when the same seed renders another shop
SHOPS = ("Nordmarkt", "Corner & Co", "Drogerie Lind", "Basket 24", "Casa Verde", "Quayside")
COLUMNS = (
    "listing", "gtin", "name", "details", "brand", "category", "colour", "size", "material", "scent",
    "shop", "price", "currency", "image", "box", "seen", "url",
)  # fmt: skip
MAP = """\
# How the columns of listings.csv become products.
[fields]
id = "listing"
title = "name"
description = "details"
url = "url"
seller = "shop"
price = "price"
currency = "currency"
identity = "gtin"
updated_at = "seen"
brand = "brand"
category = "category"
pictures = "image"
boxes = "box"

[attributes]
colour = "colour"
size = "size"
material = "material"
scent = "scent"
"""


@dataclass(frozen=True, slots=True)
class SamplePaths:
    """Where the parts of a sample lie.

    Attributes:
        table, images, map: what `skugraph ingest` takes.
        scenes: JSON lines `{"image", "width", "height", "instances": [{"box", "identity"}, …]}`.
        queries: JSON lines `{"id", "image", "text", "identity"}`, pictures relative to the file.
        qrels: TREC qrels, query to the listings of the very same product.
    """

    table: Path
    images: Path
    map: Path
    scenes: Path
    queries: Path
    qrels: Path

    @classmethod
    def under(cls, folder: Path) -> SamplePaths:
        names = ("listings.csv", "images", "map.toml", "scenes.jsonl", "queries.jsonl", "qrels.txt")
        return cls(*(folder / name for name in names))


def write_sample(folder: Path, *, seed: int = 7, products: int = 240) -> SamplePaths:
    """Render the sample into `folder`; does nothing where the same sample is complete already.

    Args:
        folder: is made if need be.
        seed: decides everything.
        products: different products; each has two or three listings, every third a query.
    """
    paths, done = SamplePaths.under(folder), folder / "sample.json"
    what = {"edition": EDITION, "seed": seed, "products": products}
    if done.is_file() and json.loads(done.read_text()) == what:
        return paths
    (paths.images / "scenes").mkdir(parents=True, exist_ok=True)
    (folder / "queries").mkdir(exist_ok=True)
    done.unlink(missing_ok=True)
    designs = invent(seed, products)
    drawn = [draw(design) for design in designs]
    scenes = list(_scenes(paths, designs, drawn, seed))
    listings = list(_listings(paths, designs, drawn, scenes, seed))
    with paths.table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(listings)
    paths.map.write_text(MAP, encoding="utf-8")
    _write_lines(paths.scenes, scenes)
    queries = list(_queries(folder, designs, drawn, seed))
    _write_lines(paths.queries, queries)
    same: dict[str, list[str]] = {}
    for listing in listings:
        same.setdefault(listing["gtin"], []).append(listing["listing"])
    judged = [f"{query['id']} 0 {listing} 1\n" for query in queries for listing in same[query["identity"]]]
    paths.qrels.write_text("".join(judged), encoding="utf-8")
    done.write_text(json.dumps(what))
    return paths


def _scenes(
    paths: SamplePaths, designs: Sequence[Design], drawn: Sequence[Image.Image], seed: int
) -> Iterator[dict[str, Any]]:
    """One scene for every eight products, of three to six of them."""
    for number in range(len(designs) // 8):
        chance = random.Random(f"scene:{seed}:{number}")
        chosen = chance.sample(range(len(designs)), min(len(designs), chance.randint(3, 6)))
        image, boxes = scene([drawn[index] for index in chosen], chance)
        name = f"scenes/s{number:03}.jpg"
        image.save(paths.images / name, quality=85)
        instances = [{"box": box, "identity": designs[index].gtin} for index, box in zip(chosen, boxes, strict=True)]
        yield {"image": name, "width": image.width, "height": image.height, "instances": instances}


def _listings(
    paths: SamplePaths,
    designs: Sequence[Design],
    drawn: Sequence[Image.Image],
    scenes: Sequence[dict[str, Any]],
    seed: int,
) -> Iterator[dict[str, str]]:
    """Two or three shops for each product, each with a photo, price and words of its own; one photo in twelve is a
    scene with the product's box."""
    in_scene = {found["identity"]: (shown["image"], found["box"]) for shown in scenes for found in shown["instances"]}
    for number, (design, product) in enumerate(zip(designs, drawn, strict=True)):
        chance = random.Random(f"listing:{seed}:{number}")
        for view, shop in enumerate(chance.sample(SHOPS, chance.randint(2, 3))):
            listing, box = f"L{number:04}{'abc'[view]}", ""
            if view and design.gtin in in_scene and chance.random() < 0.35:
                image, corners = in_scene[design.gtin]
                box = " ".join(map(str, corners))
            else:
                image = f"{listing}.jpg"
                photograph(product, chance).save(paths.images / image, quality=85)
            values = (
                listing,
                design.gtin,
                title(design, chance),
                description(design, chance),
                design.brand.name if chance.random() < 0.96 else "",
                " > ".join(design.kind.path),
                design.colour if chance.random() < 0.93 else "",
                design.size,
                design.material,
                design.scent,
                shop,
                f"{design.price * chance.uniform(0.85, 1.2):.2f}" if chance.random() < 0.98 else "",
                "EUR",
                image,
                box,
                (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(5000))).isoformat(),
                f"https://shop.example/{listing}",
            )
            yield dict(zip(COLUMNS, values, strict=True))


def _queries(
    folder: Path, designs: Sequence[Design], drawn: Sequence[Image.Image], seed: int
) -> Iterator[dict[str, str]]:
    """A customer's photo of every third product."""
    for number in range(0, len(designs), 3):
        design, chance = designs[number], random.Random(f"query:{seed}:{number}")
        name = f"queries/q{number:04}.jpg"
        photograph(drawn[number], chance, hard=True).save(folder / name, quality=80)
        text = f"{design.brand.name} {design.kind.name} {design.scent}".lower()
        yield {"id": f"q{number:04}", "image": name, "text": text, "identity": design.gtin}


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
