"""How the making of the entity graph grows with the number of entities, in time and in memory.

    python -m benchmarks.entity_graph [--size N] [--quick] [--write N] --out FILE

Entities are made up: vectors of 384 values in clusters of clusters, in a file that is mapped into memory, and twice
as many products, half of whose entities are drawn by Zipf's law from all and half from a topic. Each size runs in a
process of its own, so that its peak of memory is its own. What is measured is what the relate task does: neighbours of
the vectors, co-occurrence, pairs that agree, an update after some entities have come and gone; up to `--write` entities
also the writing of the edges into an embedded graph.

The growth exponent is the slope of log(seconds of processor time) over log(entities): of processor time, so that others
at work on the machine do not count. The baseline of the neighbours is brute force, up to 30,000 entities.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, peak_kb, write_figures
from encoders.neighbours import nearest
from kg.cooccurrence import Mentions, cooccurring
from kg.graph.edges import Edges, settle
from kg.home import Home
from kg.settings import load_settings
from kg.similarity import GONE, Neighbours, mutual, nearest_of, updated
from kg.similarity import nearest as brute_force
from kg.stores import open_stores, stop_stores

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK = (500, 1000, 2000)
BRUTE_FORCE = 30_000
WRITTEN = 100_000
GOAL, RECALL = 1.15, 0.95
WIDTH, NEAREST, THRESHOLD, LEAST = 384, 10, 0.6, 0.1
CHUNK = 50_000
CLUSTER, CLUSTERS = 20, 100  # vectors of a cluster, clusters of a cluster of clusters
NOISE = 0.9
PRODUCTS = 2  # for each entity
NAMED = 8  # entities of a product, on average
TOPIC = 20  # entities of a topic
QUERIES = 500
CHANGED = 100  # entities that come, and as many that go
ENTITIES = "UNWIND $rows AS row CREATE (e:Entity {key: row.key, text: row.key, type: 'made', df: 1})"


@dataclass
class Measured:
    """Of one size: seconds of wall and of processor time by stage, and what came out."""

    size: int
    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        wall, cpu = time.monotonic(), time.process_time()
        yield
        self.wall[name], self.cpu[name] = time.monotonic() - wall, time.process_time() - cpu

    @property
    def graph_cpu(self) -> float:
        """All that makes the graph, without its writing."""
        return sum(self.cpu[name] for name in ("neighbours", "cooccurrence", "pairs"))


# what is made up


def vectors(size: int, path: Path) -> NDArray[np.float32]:
    """(size, 384) unit rows, mapped from the file; the same for the same size."""
    out = np.memmap(path, np.float32, "w+", shape=(size, WIDTH))
    clusters = max(size // CLUSTER, 1)
    upper = np.random.default_rng(0).standard_normal((max(clusters // CLUSTERS, 1), WIDTH), np.float32)
    for start in range(0, size, CHUNK):
        count = min(CHUNK, size - start)
        draw = np.random.default_rng([1, start])
        # A cluster's centre must be the same in every chunk: it is drawn from the cluster's number alone.
        chosen = np.sort(draw.integers(clusters, size=count))
        numbers, places = np.unique(chosen, return_inverse=True)
        centres = np.stack([np.random.default_rng([2, int(n)]).standard_normal(WIDTH, np.float32) for n in numbers])
        centres += upper[numbers % len(upper)]
        rows = centres[places] + NOISE * draw.standard_normal((count, WIDTH), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        out[start : start + count] = rows[draw.permutation(count)]
    out.flush()
    return np.memmap(path, np.float32, "r", shape=(size, WIDTH))


def mentions(size: int) -> Mentions:
    """What twice as many products name: half by Zipf's law from all entities, half from the product's topic."""
    parts, sizes = [], []
    for start in range(0, PRODUCTS * size, CHUNK):
        draw = np.random.default_rng([3, start])
        count = min(CHUNK, PRODUCTS * size - start)
        named = draw.poisson(NAMED, count)
        product = np.repeat(np.arange(count), named)
        rank = np.floor(size ** draw.random(len(product))).astype(np.int64) - 1  # density 1 / rank
        often = (rank * 7919) % size
        topic = draw.integers(max(size // TOPIC, 1), size=count)[product] * TOPIC
        near = np.minimum(topic + draw.integers(TOPIC, size=len(product)), size - 1)
        entity = np.where(draw.random(len(product)) < 0.5, often, near)
        codes = np.unique(product * size + entity)
        parts.append((codes % size).astype(np.int32))
        sizes.append(np.bincount(codes // size, minlength=count))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    return Mentions(starts, np.concatenate(parts), size)


# what is measured


def measure(size: int, written: int) -> Measured:
    """All stages at one size."""
    found = Measured(size)
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        rows = vectors(size, folder / "vectors.f32")
        with found.stage("neighbours"):
            near = nearest(rows, NEAREST)
        with found.stage("pairs"):
            pairs = mutual(near, THRESHOLD)
        found.counts["edges by vectors"] = len(pairs[0])
        named = mentions(size)
        with found.stage("cooccurrence"):
            beside = cooccurring(named, NEAREST, folder=folder)
            together = mutual(beside, LEAST)
        found.counts |= {"edges by co-occurrence": len(together[0]), "links": len(named.entities)}
        del named, beside
        found.counts["peak"] = peak_kb() / 1e6
        queries = np.sort(np.random.default_rng(4).choice(size, min(QUERIES, size), replace=False))
        best = nearest_of(queries, rows, NEAREST)[0]
        hits = sum(len(set(a) & set(b)) for a, b in zip(near[0][queries].tolist(), best.tolist(), strict=True))
        found.counts["recall"] = hits / best.size
        _update(found, rows, near)
        if size <= BRUTE_FORCE:
            with found.stage("brute force"):
                brute_force(np.asarray(rows), NEAREST)
        if size <= written:
            _write(found, pairs, folder)
    return found


def _update(found: Measured, rows: NDArray[np.float32], near: Neighbours) -> None:
    """Some of the entities go, and others come in their place."""
    changed = np.sort(np.random.default_rng(5).choice(len(rows), min(CHANGED, len(rows) // 10), replace=False))
    fresh = np.zeros(len(rows), np.bool_)
    fresh[changed] = True
    now = np.array(rows)
    now[changed] = now[np.roll(changed, 1)]
    indices = near[0].copy()
    indices[np.isin(indices, changed)] = GONE
    with found.stage("update"):
        updated(now, NEAREST, (indices, near[1]), fresh)
    found.counts["changed"] = len(changed)


def _write(found: Measured, pairs: tuple[NDArray, NDArray, NDArray], folder: Path) -> None:
    keys = [f"made:{number:07d}" for number in range(found.size)]
    home = Home(folder / "home").create()
    try:
        with open_stores(load_settings(home=home.root, stores_linger_s=0)) as stores:
            stores.graph.write_rows(ENTITIES, ({"key": key} for key in keys), key="key")
            edges = Edges("text", keys, pairs[:2], pairs[2], "s1")
            with found.stage("write"):
                found.counts["written"] = settle(stores.graph, edges).written
            with found.stage("write again"):
                settle(stores.graph, edges)
    finally:
        stop_stores(home)


# what is said of it


def figures(runs: Sequence[Measured]) -> Iterator[Figure]:
    """The figures of each size, and how they grow."""
    for run in runs:
        title = f"{run.size:,} entities"
        brute = run.wall.get("brute force")
        yield Figure(f"{title}: neighbours of the vectors", run.wall["neighbours"], "s", brute)
        yield Figure(f"{title}: co-occurrence", run.wall["cooccurrence"], "s")
        yield Figure(f"{title}: processor time of both, and of pairs that agree", run.graph_cpu, "s")
        again = run.wall["neighbours"]
        yield Figure(f"{title}: update after {run.counts['changed']:.0f} changed", run.wall["update"], "s", again)
        recall = run.counts["recall"]
        goal = f"at least {RECALL}"
        yield Figure(f"{title}: recall@{NEAREST} of exact neighbours", recall, "", 1.0, goal, recall >= RECALL)
        dense = 4 * run.size**2 / 1e9
        yield Figure(f"{title}: peak memory, beside a dense matrix", run.counts["peak"], "GB", dense)
        for kind in ("edges by vectors", "edges by co-occurrence"):
            yield Figure(f"{title}: {kind}", run.counts[kind], "")
        if "write" in run.wall:
            written = run.counts["written"]
            yield Figure(f"{title}: edges written into the graph", written / run.wall["write"], "edges/s")
            yield Figure(
                f"{title}: the same edges again, nothing changed", run.wall["write again"], "s", run.wall["write"]
            )
    if len(runs) > 1:
        slope = exponent([run.size for run in runs], [run.graph_cpu for run in runs])
        sizes = f"{runs[0].size:,} to {runs[-1].size:,} entities"
        yield Figure(f"growth exponent, {sizes}", slope, "", None, f"at most {GOAL}", slope <= GOAL)
        memory = exponent([run.size for run in runs], [run.counts["peak"] for run in runs])
        yield Figure(f"growth exponent of peak memory, {sizes}", memory, "", None, "at most 1", memory <= 1)


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of the line through log(seconds) over log(sizes), by least squares."""
    return float(np.polyfit([math.log(size) for size in sizes], [math.log(value) for value in seconds], 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.entity_graph", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--size", type=int, default=SIZES[-1], help="the largest number of entities (default: %(default)s)"
    )
    parser.add_argument(
        "--write", type=int, default=WRITTEN, help="largest size whose edges are written (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    options = parser.parse_args()
    runs = []
    for size in [size for size in (QUICK if options.quick else SIZES) if size <= options.size] or [options.size]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as own:  # a process of its own has a peak of its own
            runs.append(own.submit(measure, size, options.write).result())
        print({"size": size, **asdict(runs[-1])}, flush=True)
    write_figures(list(figures(runs)), options.out)


if __name__ == "__main__":
    main()
