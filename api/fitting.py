"""Fits the costs of plans (`api.costs`) to the machine at hand: short probes of the real stores, each the median of a
few; what cannot be told apart on so small a catalogue stays as it was shipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from statistics import median

import numpy as np

from api.costs import DIM, Costs, keep, shipped
from api.lists import EMBED, NO_GENERATION
from api.plans import Ask, exact
from kg import feed
from kg.errors import NotFound
from kg.graph import selection as graph_side
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.client import VectorStore
from kg.vectors.expressions import isin
from kg.vectors.resident_files import gathered
from kg.vectors.schema import VECTOR

__all__ = ["Fitted", "fit"]

TRIES = 5
FEW, MANY = 20, 1000  # ids of the smaller and the larger probe
LEAST_ROWS = 2000  # in a smaller collection the costs of a row are not to be told from those of a request
ARRAY_ROWS = 40_000  # of the array that a scan is timed on

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Fitted:
    """What was found.

    Attributes:
        costs: the coefficients, as they were written.
        before: as they were shipped.
        kept: names of those that could not be measured here.
        path: of the file.
    """

    costs: Costs
    before: Costs
    kept: tuple[str, ...]
    path: str


def fit(stores: Stores, progress: Progress | None = None) -> Fitted:
    """Measure, and write the coefficients to the home, where every planner that uses it finds them.

    Args:
        stores: both stores.
        progress: is told what is measured, which of how many.

    Raises:
        NotFound: no generation is live.
        StoreDown: a store does not answer.
    """
    generation = generations.live(stores)
    if generation is None:
        raise NotFound(NO_GENERATION, hint=EMBED)
    collection = generation.first(stores.vectors.prefix)
    rows, before = stores.vectors.count(collection), shipped(stores.vectors.engine)
    ids = list(islice(graph_side.stream_ids(stores.graph, Selection()), MANY))
    probes: list[tuple[str, Callable[[], dict[str, float]]]] = [
        ("graph", lambda: _graph(stores, ids)),
        ("vectors", lambda: _vectors(stores.vectors, collection, ids, rows, generation.dim, before)),
        ("arrays", lambda: _arrays(generation.dim)),
    ]
    found: dict[str, float] = {}
    for number, (what, probe) in enumerate(probes):
        if progress:
            progress(what, number, len(probes))
        found |= probe()
    told = {name: value for name, value in found.items() if value > 0}
    costs = replace(before, **told)
    about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "rows": rows, "dim": generation.dim}
    path = keep(stores, costs, about)
    return Fitted(costs, before, tuple(sorted(set(vars(before)) - set(told))), str(path))


def _graph(stores: Stores, ids: list[str]) -> dict[str, float]:
    graph = stores.graph
    read = _ms(lambda: feed.revision(graph))
    found = {"graph_ms": read}
    if len(ids) > FEW:
        some = _ms(lambda: _drained(islice(graph_side.stream_ids(graph, Selection()), len(ids))))
        found["graph_id_us"] = 1000 * (some - read) / len(ids)
        _, found["member_us"] = _line(lambda part: graph_side.members(graph, Selection(), part), ids)
    return found


def _vectors(
    vectors: VectorStore, collection: str, ids: list[str], rows: int, dim: int, before: Costs
) -> dict[str, float]:
    query = np.random.default_rng(0).standard_normal((1, dim)).astype(np.float32)
    request = _ms(lambda: vectors.exists(collection))
    found = {"request_ms": request}
    search = _ms(lambda: vectors.search(collection, query, 100))
    if rows >= LEAST_ROWS and before.search_row_us:
        found["search_row_us"] = 1000 * (search - request) / rows * DIM / dim
    if before.search_row_us == 0:  # a server: there is no cost of a row, and a search is a request
        found["request_ms"] = search
    if len(ids) > FEW:
        _, found["search_id_us"] = _line(
            lambda part: vectors.search(collection, query, 100, isin("product_id", part)), ids
        )
        least, found["fetched_us"] = _line(lambda part: exact(Ask(vectors, collection, (query,), 100), part), ids)
        if rows >= LEAST_ROWS and before.fetch_row_us:
            found["fetch_row_us"] = 1000 * (least - request) / rows
    return found


def _arrays(dim: int) -> dict[str, float]:
    """On rows made for it: the size counts, not what they say."""
    numbers = np.random.default_rng(0)
    blank = {"brand": "", "categories": (), "entities": (), "seller": "", "price": -1.0, "updated_at": 0}
    vectors = numbers.standard_normal((ARRAY_ROWS, dim), dtype=np.float32)
    rows = gathered(
        (
            {**blank, "product_id": f"p{n:06d}", "instance_id": f"p{n:06d}#img0", VECTOR: vector}
            for n, vector in enumerate(vectors)
        ),
        dim,
    )
    query, mask = [vectors[:1]], numbers.random(ARRAY_ROWS) < 0.2
    tiny = np.zeros(ARRAY_ROWS, bool)
    tiny[:: ARRAY_ROWS // 100] = True
    whole, some, few = (_ms(partial(rows.nearest, query, chosen, 100)) for chosen in (None, mask, tiny))
    masked = _ms(lambda: mask & (rows.price < 1))
    unit = 1000 * DIM / dim
    return {
        "scan_us": unit * (whole - few) / ARRAY_ROWS,
        "gather_us": unit * (some - few) / int(mask.sum()),
        "mask_us": 1000 * masked / ARRAY_ROWS,
    }


def _line(work: Callable[[list[str]], object], ids: list[str]) -> tuple[float, float]:
    """ms of the work for few ids, and what each id more takes, in µs."""
    few, many = _ms(partial(work, ids[:FEW])), _ms(partial(work, ids))
    return few, 1000 * (many - few) / (len(ids) - FEW)


def _drained(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


def _ms(work: Callable[[], object]) -> float:
    work()  # what comes first opens connections and fills caches
    taken = []
    for _ in range(TRIES):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return median(taken)
