"""What `benchmarks.filtered` compares: ways to the k nearest listings of a made-up catalogue below some price.

Each is a function (query (D,), highest price) → ids, best first. Building one counts for nothing; asking does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api import plans
from api.models import VectorPlan
from api.planner import choose, run
from api.plans import Ask
from api.search import Searcher
from encoders.protocol import Encoder
from kg.conditions import Leaf
from kg.filters import Filters
from kg.graph.resolving import selected
from kg.home import Home
from kg.records import entity_key, normalise
from kg.scale import Scale, load
from kg.settings import load_settings
from kg.stores import Stores, open_stores, stop_stores
from kg.vectors.client import Fetched, VectorStore
from kg.vectors.expressions import between
from kg.vectors.resident_files import mapped, write
from kg.vectors.resident_rows import Mask, Rows

__all__ = [
    "Catalogue",
    "CopyAlone",
    "Way",
    "as_rows",
    "copy_alone",
    "faiss_hnsw",
    "loaded",
    "nearest",
    "no_encoder",
    "numpy_inside",
    "numpy_scan",
    "planned",
    "raw_milvus",
    "server_collection",
]

Way = Callable[[NDArray[np.float32], float], list[str]]
HNSW = {"M": 16, "efConstruction": 128, "efSearch": 256}
LITTLE = 1000  # rows of one upsert


@dataclass
class Catalogue:
    """The listings as plain arrays, in order of their ids; those without a price have none that is below any.

    Attributes:
        scale: the catalogue.
        drawn: brands and prices are drawn here, as uneven as there, and not read from its listings: a million of them
            take minutes to make. For who needs no graph.
    """

    scale: Scale
    drawn: bool = False
    ids: list[str] = field(default_factory=list)
    brands: list[str] = field(default_factory=list)
    prices: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        self.vectors = np.empty((self.scale.listings, self.scale.dim), np.float32)
        done = 0
        for shard in range(self.scale.shards):
            part = self.scale.vectors(shard)
            self.vectors[done : done + len(part)] = part
            done += len(part)
        if self.drawn:
            self._draw()
        else:
            self._read()

    def _draw(self) -> None:
        size, chance = self.scale.listings, np.random.default_rng(self.scale.seed)
        known = [key for key in self.scale.edges().keys if key.startswith("brand:")]
        self.ids = [f"s{number:08}" for number in range(size)]
        weights = 1 / np.arange(1, len(known) + 1)
        self.brands = [known[at] for at in chance.choice(len(known), size, p=weights / weights.sum()).tolist()]
        self.prices = np.exp(chance.normal(3.2, 0.9, size)).round(2)

    def _read(self) -> None:
        prices, keys = list[float](), dict[str, str]()
        for shard in range(self.scale.shards):
            for product in self.scale.products(shard):
                self.ids.append(product.id)
                self.brands.append(keys.setdefault(product.brand, entity_key("brand", normalise(product.brand))))
                prices.append(np.inf if product.price is None else float(product.price))
        self.prices = np.array(prices)

    def below(self, share: float) -> float:
        """The highest price that keeps this share of the listings, or a little more."""
        kept = np.sort(self.prices[np.isfinite(self.prices)])
        return float(kept[min(len(kept), max(1, round(share * len(self.ids)))) - 1])

    def nearest(self, query: NDArray[np.float32], price: float, k: int) -> list[str]:
        """The truth."""
        scores = (self.vectors @ query).astype(np.float64)
        scores[self.prices > price] = -np.inf
        few = np.argpartition(-scores, min(len(scores) - 1, 2 * k))[: 2 * k + 1]
        exact = [
            (-float(self.vectors[at].astype(float) @ query.astype(float)), self.ids[at])
            for at in few
            if scores[at] > -np.inf
        ]
        return [id for _, id in sorted(exact)[:k]]


def loaded(stack: ExitStack, home: Home, scale: Scale) -> Stores:
    """Embedded stores that hold the catalogue, with the copy beside them, until the stack is left."""
    stack.callback(stop_stores, home)
    # No limit of the settings is to be what is measured.
    settings = load_settings(home=home.root, resident_mb=1e6, ids_max=scale.listings, cypher_timeout_s=60)
    stores = stack.enter_context(open_stores(settings))
    begun = time.monotonic()

    def say(what: str, done: int, total: int) -> None:
        if done % 50_000 == 0:
            print(f"{what} {done:,} of {total:,}", file=sys.stderr, flush=True)

    load(stores, scale, say)
    stores.resident.build()
    print(f"loaded in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return stores


def no_encoder(path: str) -> Encoder:
    raise AssertionError(f"nothing is encoded here: {path}")


def nearest(
    searcher: Searcher, filters: Filters, query: NDArray[np.float32], k: int, forced: VectorPlan | None = None
) -> tuple[str, list[str]]:
    """Ours, from filters to the plan and ids: select, look which generation is live, plan, search."""
    stores = searcher.stores
    selection = selected(stores, filters)
    generation, stale = searcher.live()
    assert generation is not None
    plan = choose(stores, selection, stale, forced=forced, generation=generation, k=k)
    [collection] = generation.collections(stores.vectors.prefix).values()
    [found] = run(stores, plan, selection, Ask(stores.vectors, collection, (query[None],), k))
    return plan.name, [one.product_id for one in found]


def planned(stores: Stores, k: int, forced: VectorPlan | None = None) -> Way:
    """Ours, as `nearest`."""
    searcher = Searcher(stores, no_encoder)
    return lambda query, price: nearest(
        searcher, Filters() if price == np.inf else Filters(max_price=price), query, k, forced
    )[1]


def as_rows(catalogue: Catalogue) -> Iterator[list[dict[str, object]]]:
    """Rows as a vector store gives them, with price and brand."""
    blank = {"categories": (), "entities": (), "seller": "", "updated_at": 0}
    for start in range(0, len(catalogue.ids), LITTLE):
        yield [
            {
                **blank,
                "product_id": catalogue.ids[at],
                "instance_id": f"{catalogue.ids[at]}#txt",
                "brand": catalogue.brands[at],
                "price": float(catalogue.prices[at]) if np.isfinite(catalogue.prices[at]) else -1.0,
                "vector": catalogue.vectors[at],
            }
            for at in range(start, min(start + LITTLE, len(catalogue.ids)))
        ]


class CopyAlone:
    """A copy without a generation around it, as `api.plans.resident` asks it."""

    def __init__(self, rows: Rows, mask: Mask | None) -> None:
        self.rows, self.mask = rows, mask

    def candidates(
        self, collection: str, questions: Sequence[NDArray[np.float32]], k: int, exclude: frozenset[str]
    ) -> Iterator[tuple[int, Fetched]]:
        for at, numbers in enumerate(self.rows.nearest(questions, self.mask, k)):
            yield at, self.rows.fetch(numbers)


def copy_alone(catalogue: Catalogue, folder: Path, k: int, dtype: str = "float32") -> Way:
    """The copy beside the process, without any store: mask, scan, final scores."""

    write(folder, as_rows(catalogue), catalogue.scale.dim, dtype)
    rows = mapped(folder)

    def ask(query: NDArray[np.float32], price: float) -> list[str]:
        asked = Ask(None, "", (query[None],), k)  # type: ignore[arg-type]  # no store is asked
        mask = None if price == np.inf else rows.mask(Leaf("max_price", price))
        [found] = plans.resident(asked, CopyAlone(rows, mask))
        return [one.product_id for one in found]

    return ask


def raw_milvus(vectors: VectorStore, collection: str, k: int) -> Way:
    """One filtered search by the store's own client."""

    def ask(query: NDArray[np.float32], price: float) -> list[str]:
        return [hit.product_id for hit in vectors.search(collection, query[None], k, between("price", None, price))[0]]

    return ask


def server_collection(vectors: VectorStore, catalogue: Catalogue) -> str:
    """The catalogue in a Milvus server; an HNSW index as `VectorStore` makes it."""
    name = f"{vectors.prefix}_bench_text"
    vectors.create(name, catalogue.scale.dim)
    for start in range(0, len(catalogue.ids), 10_000):
        part = range(start, min(start + 10_000, len(catalogue.ids)))
        vectors.upsert(
            name,
            [
                {
                    "instance_id": f"{catalogue.ids[at]}#txt",
                    "product_id": catalogue.ids[at],
                    "price": float(catalogue.prices[at]) if np.isfinite(catalogue.prices[at]) else -1.0,
                    "vector": catalogue.vectors[at],
                }
                for at in part
            ],
        )
    vectors.connection.request("flush", name)
    end = time.monotonic() + 600
    while time.monotonic() < end:  # searches before the index is there are exact and slow
        index = vectors.connection.client.describe_index(name, "vector") or {}
        if index.get("pending_index_rows", 0) == 0 and vectors.count(name) == len(catalogue.ids):
            break
        time.sleep(1)
    return name


def faiss_hnsw(catalogue: Catalogue, k: int) -> Way:
    """faiss, its graph index with the filter as a bitmap of rows."""
    import faiss

    index = faiss.IndexHNSWFlat(catalogue.scale.dim, HNSW["M"], faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW["efConstruction"]
    index.add(catalogue.vectors)

    def ask(query: NDArray[np.float32], price: float) -> list[str]:
        bits = np.packbits(catalogue.prices <= price, bitorder="little")
        chosen = faiss.IDSelectorBitmap(bits)
        how = faiss.SearchParametersHNSW(sel=chosen, efSearch=max(HNSW["efSearch"], 2 * k))
        _, found = index.search(query[None], k, params=how)
        return [catalogue.ids[at] for at in found[0] if at >= 0]

    return ask


def numpy_inside(catalogue: Catalogue, k: int) -> Way:
    """The filter, then what is left is scored."""

    def ask(query: NDArray[np.float32], price: float) -> list[str]:
        rows = np.flatnonzero(catalogue.prices <= price)
        scores = catalogue.vectors[rows] @ query
        few = np.argpartition(-scores, min(len(scores) - 1, k))[:k]
        return [catalogue.ids[rows[at]] for at in few[np.argsort(-scores[few])]]

    return ask


def numpy_scan(catalogue: Catalogue, k: int) -> Way:
    """Everything is scored, then the filter."""

    def ask(query: NDArray[np.float32], price: float) -> list[str]:
        scores = catalogue.vectors @ query
        scores[catalogue.prices > price] = -np.inf
        few = np.argpartition(-scores, min(len(scores) - 1, k))[:k]
        few = few[np.argsort(-scores[few])]
        return [catalogue.ids[at] for at in few if scores[at] > -np.inf]

    return ask
