"""What each plan costs, in milliseconds: a few coefficients that `skugraph calibrate` fits to the machine at hand.

    attribute   one filtered search, then the vectors of the candidates
    exact       ids from the graph, then their vectors, in chunks
    ids         ids from the graph, then a search for each chunk of them
    overfetch   searches that widen until k of the hits are inside, each hit looked up in the graph
    resident    a mask, then a scan of the copy, or a gather where less than two fifths are inside

An embedded vector store reads every row in each search and each fetch: that is what `*_row_us` say; a server has an
index for it, and they are 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

from api.models import VectorPlan
from api.plans import EXACT_CHUNK, ID_CHUNK, MAX_HITS
from kg.home import write_private
from kg.stores import Stores
from kg.vectors.resident_rows import LEAP

__all__ = ["FILE", "Costs", "Sizes", "costs_of", "estimates", "shipped"]

FILE = "costs.json"  # in the home
DIM = 256  # of the vectors that row costs are stated for


@dataclass(frozen=True)
class Costs:
    """Coefficients.

    Attributes:
        graph_ms: one read of the graph.
        graph_id_us: one id more that it returns.
        member_us: one hit that it looks up.
        request_ms: one request to the vector store.
        search_row_us: one row that a search reads.
        search_id_us: one id more in a filter.
        fetch_row_us: one row that a fetch reads.
        fetched_us: one vector that is fetched and scored.
        resident_ms: one search in the copy, with the scoring of its candidates.
        mask_us: one row of a mask.
        scan_us: one row of the copy, read in order.
        gather_us: one row of the copy, read out of order.
    """

    graph_ms: float = 2.0
    graph_id_us: float = 8.0
    member_us: float = 15.0
    request_ms: float = 3.0
    search_row_us: float = 0.6
    search_id_us: float = 3.0
    fetch_row_us: float = 0.4
    fetched_us: float = 60.0
    resident_ms: float = 2.0
    mask_us: float = 0.002
    scan_us: float = 0.07
    gather_us: float = 0.15


@dataclass(frozen=True)
class Sizes:
    """What the costs of a search depend on.

    Attributes:
        rows: in the collection.
        dim: of a vector.
        whole: products of the catalogue.
        inside: products that are admitted, as far as it is known; `whole` where it is not.
        k: products wanted.
    """

    rows: int
    dim: int
    whole: int
    inside: int
    k: int = 100


def shipped(engine: str) -> Costs:
    """Before anything was measured: of an embedded vector store, or of a server with its index."""
    return Costs() if engine == "milvus_lite" else Costs(request_ms=6.0, search_row_us=0.0, fetch_row_us=0.0)


def costs_of(stores: Stores) -> Costs:
    """Those fitted on this machine to stores of these kinds, else those shipped."""
    path = stores.home.root / FILE
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        return shipped(stores.vectors.engine)
    return _read(path, changed, stores.graph.engine, stores.vectors.engine)


@lru_cache(maxsize=16)
def _read(path: Path, changed: int, graph: str, vectors: str) -> Costs:
    """`changed` makes a file that was written anew another one."""
    known = json.loads(path.read_text(encoding="utf-8"))
    names = {field.name for field in fields(Costs)}
    if (known["graph"], known["vectors"]) != (graph, vectors) or set(known["costs"]) != names:
        return shipped(vectors)
    return Costs(**known["costs"])


def keep(stores: Stores, costs: Costs, about: Mapping[str, object]) -> Path:
    """Write them to the home, for every process that uses it."""
    document = {"graph": stores.graph.engine, "vectors": stores.vectors.engine, **about, "costs": asdict(costs)}
    path = stores.home.root / FILE
    write_private(path, json.dumps(document, indent=1))
    return path


def estimates(costs: Costs, sizes: Sizes) -> dict[VectorPlan, float]:
    """Plan → ms, whether it may be taken or not."""
    wide, n = sizes.dim / DIM, sizes.inside
    few = min(sizes.k, n) * 1.3  # candidates whose stored vectors are scored in the end
    search = costs.request_ms + wide * sizes.rows * costs.search_row_us / 1000
    fetch = costs.request_ms + sizes.rows * costs.fetch_row_us / 1000
    settle = fetch + few * costs.fetched_us / 1000
    told = costs.graph_ms + n * costs.graph_id_us / 1000
    chunks = max(1, math.ceil(n / ID_CHUNK))
    by_ids = told + chunks * search + n * costs.search_id_us / 1000 + settle
    rows_inside = sizes.rows * n / max(1, sizes.whole)
    read = rows_inside * costs.gather_us if n < LEAP * sizes.whole else sizes.rows * costs.scan_us
    return {
        "attribute": search + settle,
        "exact": told + max(1, math.ceil(n / EXACT_CHUNK)) * fetch + n * costs.fetched_us / 1000,
        "ids": by_ids,
        "overfetch": _widening(costs, sizes, search) + settle + (by_ids if _beyond(sizes) else 0),
        "resident": costs.resident_ms + (sizes.rows * costs.mask_us + wide * read) / 1000,
    }


def _hits(sizes: Sizes) -> float:
    """Hits of a search without filter among which k are inside."""
    return 1.3 * sizes.k * sizes.rows / max(1, sizes.whole) * sizes.whole / max(1, sizes.inside)


def _beyond(sizes: Sizes) -> bool:
    return min(_hits(sizes), sizes.rows) > MAX_HITS


def _widening(costs: Costs, sizes: Sizes, search: float) -> float:
    seen, limit, total = 0.0, 2.0 * sizes.k + 32, 0.0
    while True:
        limit = min(limit, MAX_HITS, max(1, sizes.rows))
        total += search + costs.graph_ms + (limit - seen) * costs.member_us / 1000
        if limit >= _hits(sizes) or limit in (MAX_HITS, max(1, sizes.rows)):
            return total
        seen, limit = limit, 4 * limit
