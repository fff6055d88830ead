"""Nearest neighbours inside a filter, from one in a thousand to everything: recall and time of every way to them.

    python -m benchmarks.filtered [--size N] [--asked N] [--seconds S] [--quick] [--copy-only] [--milvus URI] --out FILE

A made-up catalogue (`kg.scale`) of `--size` listings with vectors of 256 dimensions, in embedded stores; the filter is
a highest price, chosen so that the wanted share is kept. Asked are: our planner, from filters to ids; each plan alone;
Milvus Lite by its own client; a Milvus server where one is named; faiss (HNSW with a bitmap); numpy (all scores, then
the filter). `--copy-only` leaves the stores out, for sizes that the embedded ones take an hour to load: the plan
`resident` is then asked without what surrounds it. A cell ends after `--asked` questions or `--seconds`.

Recall is against float64 sums over everything. With `--out`, a plot is written beside it where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from api.models import VectorPlan
from benchmarks.figures import Figure, document, print_table, pyplot, write_figures, write_json
from benchmarks.filtered_systems import (
    Catalogue,
    Way,
    copy_alone,
    faiss_hnsw,
    loaded,
    numpy_inside,
    numpy_scan,
    planned,
    raw_milvus,
    server_collection,
)
from kg.home import Home
from kg.scale import Scale
from kg.vectors import generations
from kg.vectors.client import VectorStore

__all__ = ["SHARES", "Cell", "cells", "figures", "main"]

SHARES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
K = 100
LEAST = 3  # questions of a cell, whatever they take
RECALL, SLOWER = 0.99, 2.0
OURS = "our planner"


@dataclass(frozen=True)
class Cell:
    """One way at one share.

    Attributes:
        recall: of the k nearest, the mean over the questions.
        p50, p95: ms on the clock; cpu: ms of this process's own processor time, the median.
        returned: results over what exists of the k wanted, the least of all questions.
        load: others that wanted a processor, as the system says it (1 minute).
    """

    way: str
    share: float
    recall: float
    p50: float
    p95: float
    cpu: float
    returned: float
    asked: int
    load: float


def cells(
    ways: Mapping[str, Way],
    catalogue: Catalogue,
    queries: NDArray[np.float32],
    *,
    seconds: float,
    shares: Sequence[float] = SHARES,
) -> list[Cell]:
    """Every way at every share, the ways in turns so that what else the machine does falls on all; each time in another
    order, for who comes after a scan of everything finds nothing in the processor's cache."""
    found, chance = [], np.random.default_rng(0)
    for share in shares:
        price = catalogue.below(share)
        truth = [catalogue.nearest(query, price, K) for query in queries]
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        hits: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for way in ways.values():
            way(queries[0], price)  # opens what is to be opened
        for number, query in enumerate(queries):
            for name in chance.permutation(list(ways)).tolist():
                if number >= LEAST and sum(ms for ms, _ in taken[name]) > 1000 * seconds:
                    continue
                start, own = time.perf_counter(), time.process_time()
                answer = ways[name](query, price)
                taken[name].append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - own)))
                wanted = truth[number]
                hits[name].append((len({*answer} & {*wanted}) / len(wanted), len(answer) / len(wanted)))
        for name in ways:
            wall, cpu = np.array(taken[name]).T
            recall, returned = np.array(hits[name]).T
            found.append(
                Cell(
                    name, share, float(recall.mean()), float(np.median(wall)), float(np.percentile(wall, 95)),
                    float(np.median(cpu)), float(returned.min()), len(wall), os.getloadavg()[0],
                )
            )  # fmt: skip
        print_table(
            ("kept", "way", "recall", "p50 ms", "p95 ms", "cpu ms", "returned", "asked"),
            [
                (
                    f"{c.share:.1%}",
                    c.way,
                    f"{c.recall:.4f}",
                    f"{c.p50:.1f}",
                    f"{c.p95:.1f}",
                    f"{c.cpu:.1f}",
                    f"{c.returned:.2f}",
                    c.asked,
                )
                for c in found[-len(ways) :]
            ],
        )
    return found


def unfiltered(way: Way, queries: NDArray[np.float32]) -> float:
    """Its p95 without any filter, in ms."""
    taken = []
    for query in queries:
        start = time.perf_counter()
        way(query, np.inf)
        taken.append(1000 * (time.perf_counter() - start))
    return float(np.percentile(taken, 95))


def figures(found: Sequence[Cell], size: int, ours: str, whole: float) -> list[Figure]:
    """Ours against the quickest other way that reaches the recall; the baseline is its time.

    Args:
        found: all cells.
        size: of the catalogue.
        ours: name of our way.
        whole: its p95 without a filter, in ms.
    """
    by = {(cell.way, cell.share): cell for cell in found}
    rivals = {cell.way for cell in found if cell.way in RIVALS}
    made = []
    for share in dict.fromkeys(cell.share for cell in found):
        mine = by[ours, share]
        good = [by[way, share] for way in rivals if by[way, share].recall >= RECALL]
        best = min(good, key=lambda cell: cell.p50, default=None)
        name = f"{ours}, {size:,} vectors, {share:.1%} kept"
        made.append(
            Figure(
                f"{name}: recall@{K}",
                mine.recall,
                "",
                max((by[w, share].recall for w in rivals), default=None),
                f"at least {RECALL}",
                mine.recall >= RECALL,
            )
        )
        made.append(
            Figure(
                f"{name}: p50 (baseline: {best.way})" if best else f"{name}: p50",
                mine.p50,
                "ms",
                best.p50 if best else None,
            )
        )
        for store in ("Milvus Lite", "Milvus server"):
            if (store, share) in by and (best is None or best.way != store):
                made.append(Figure(f"{name}: p50 (baseline: {store})", mine.p50, "ms", by[store, share].p50))
        if best and best.way in HERE:  # what others do on the machine meanwhile says little in this
            title = f"{name}: processor time (baseline: {best.way})"
            made.append(Figure(title, mine.cpu, "ms", best.cpu))
        goal = f"at most {SLOWER:g} × unfiltered"
        made.append(
            Figure(f"{name}: p95 (baseline: no filter)", mine.p95, "ms", whole, goal, mine.p95 <= SLOWER * whole)
        )
    return made


HERE = ("faiss HNSW", "numpy", "numpy, filter first")  # they work in this process, as the copy does
RIVALS = ("Milvus Lite", "Milvus server", *HERE)


def plot(found: Sequence[Cell], path: Path) -> None:
    """Time over share, a line a way; those below the recall are dashed."""
    if (plt := pyplot()) is None:
        return
    figure, axes = plt.subplots(figsize=(8, 5))
    for way in dict.fromkeys(cell.way for cell in found):
        mine = sorted((cell for cell in found if cell.way == way), key=lambda cell: cell.share)
        low = min(cell.recall for cell in mine)
        label = way if low >= RECALL else f"{way} (recall from {low:.2f})"
        style = "-" if low >= RECALL else "--"
        axes.plot([100 * c.share for c in mine], [c.p50 for c in mine], style, marker="o", markersize=3, label=label)
    axes.set(xscale="log", yscale="log", xlabel="% of the catalogue inside the filter", ylabel="p50, ms")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20, help="of one cell")
    parser.add_argument("--quick", action="store_true", help="3,000 listings, few questions")
    parser.add_argument("--copy-only", action="store_true", help="without stores")
    parser.add_argument("--half", action="store_true", help="with --copy-only: also scanned as float16")
    parser.add_argument("--no-plans", action="store_true", help="leave out each plan alone: minutes, of a million")
    parser.add_argument("--no-faiss", action="store_true", help="leave out faiss, whose index takes minutes to build")
    parser.add_argument("--milvus", default=os.environ.get("SKUGRAPH_TEST_MILVUS_URI", ""), help="URI of a server")
    parser.add_argument("--home", type=Path, help="keep the loaded stores there, and take them from there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    size = min(options.size, 3000) if options.quick else options.size
    asked = min(options.asked, 5) if options.quick else options.asked
    scale = Scale(size, dim=256)
    queries = scale.queries(asked)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        catalogue = Catalogue(scale, drawn=options.copy_only)
        ways: dict[str, Way] = {}
        if options.copy_only:
            ways["resident"] = copy_alone(catalogue, folder / "copy", K)
            if options.half:
                ways["resident, float16"] = copy_alone(catalogue, folder / "half", K, "float16")
        else:
            stores = loaded(stack, Home(options.home or folder / "home"), scale)
            ways[OURS] = planned(stores, K)
            if not options.no_plans:
                ways |= {f"{plan} alone": planned(stores, K, plan) for plan in get_args(VectorPlan)}
            live = generations.live(stores)
            assert live is not None
            [collection] = live.collections(stores.vectors.prefix).values()
            ways["Milvus Lite"] = raw_milvus(stores.vectors, collection, K)
        if options.milvus:
            server = VectorStore(options.milvus, prefix=f"filtered{os.getpid()}")
            stack.callback(server.close)
            name = server_collection(server, catalogue)
            stack.callback(server.drop, name)
            ways["Milvus server"] = raw_milvus(server, name, K)
        if not options.no_faiss:
            ways["faiss HNSW"] = faiss_hnsw(catalogue, K)
        ways["numpy"] = numpy_scan(catalogue, K)
        ways["numpy, filter first"] = numpy_inside(catalogue, K)
        found = cells(ways, catalogue, queries, seconds=options.seconds)
        ours = "resident" if options.copy_only else OURS
        whole = unfiltered(ways[ours], queries)
    made = figures(found, size, ours, whole)
    write_figures(made, None)
    if options.out:
        write_json(options.out, {**document(made), "cells": [asdict(cell) for cell in found]})
        plot(found, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
