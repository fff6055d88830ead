"""A tenth of the catalogue as the filter, found by walking the entity graph: how long from question to results?

    python -m benchmarks.traversal [--size N] [--asked N] [--quick] [--copy-only] [--home DIR] --out FILE

A made-up catalogue (`kg.scale`) in embedded stores. Each question is a picture and a `near` filter over two SIMILAR_TO
hops, from seeds chosen so that about a tenth of the listings is admitted (100,000 of a million). Measured is a call of
`Searcher.search` from Python, by its own steps; the encoder gives a vector that was made before, and its step is left
out. The baseline is the plan that hands the graph's ids to the vector store. Pages of the
graph are in memory only once they were read: the first questions are told apart, and `--before` come before those that
count. No question is asked twice.

`--copy-only` leaves the stores out, for sizes that the embedded ones take an hour to load: the same kind of keys, but
only mask, scan and final scores are measured.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api import plans
from api.models import SearchRequest, VectorPlan
from api.plans import Ask
from api.search import Searcher
from benchmarks.figures import Figure, document, print_table, write_figures, write_json
from benchmarks.filtered_systems import Catalogue, CopyAlone, as_rows, loaded
from kg.conditions import Leaf
from kg.filters import Filters
from kg.graph.edges import Edges
from kg.graph.resolving import selected
from kg.home import Home
from kg.scale import Scale
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.resident_files import mapped, write

__all__ = ["main", "near", "seeds"]

SHARE = 0.1
K = 100
GOAL_MS, GOAL_SIZE = 60.0, 1_000_000
FIRST, FEW = 20, 3  # questions of stores that were just started; of a plan that takes seconds for each
BY_IDS = 200_000  # listings; beyond, the plan `ids` takes minutes for a question


class Given:
    """An encoder that gives the vectors it was handed, one after the other."""

    name, fingerprint = "given", ""

    def __init__(self, vectors: NDArray[np.float32], fingerprint: str) -> None:
        self.dim, self.fingerprint, self._next, self._vectors = vectors.shape[1], fingerprint, 0, vectors

    def encode_images(self, images: Sequence[Any]) -> NDArray[np.float32]:
        self._next += 1
        return np.repeat(self._vectors[self._next % len(self._vectors)][None], len(images), axis=0)


def near(edges: Edges, start: Sequence[str], hops: int) -> set[str]:
    """Keys within so many hops of these."""
    number = {key: at for at, key in enumerate(edges.keys)}
    one, two = (np.asarray(end) for end in edges.ends)
    reached = np.zeros(len(edges.keys), bool)
    reached[[number[key] for key in start if key in number]] = True
    for _ in range(hops):
        reached[np.concatenate([two[reached[one]], one[reached[two]]])] = True
    return {edges.keys[at] for at in np.flatnonzero(reached)} | set(start)


def seeds(edges: Edges, bearing: Mapping[str, int], size: int, wanted: int) -> list[list[str]]:
    """Lists of entities whose surroundings bear about a tenth of the listings, as the counts add up."""
    chance, found = np.random.default_rng(0), []
    brands = [key for key in edges.keys if key.startswith("brand:")]
    while len(found) < wanted:
        mine: list[str] = []
        for at in chance.permutation(len(brands)):
            mine.append(brands[at])
            if sum(bearing.get(key, 0) for key in near(edges, mine, 2)) >= SHARE * size or len(mine) == 100:
                break
        found.append(mine)
    return found


def picture(number: int) -> bytes:
    """Another one each time, so that nothing is taken from the cache of encodings."""
    data = io.BytesIO()
    Image.new("RGB", (32, 32), (number % 256, number // 256 % 256, 99)).save(data, "PNG")
    return data.getvalue()


def through_stores(
    stores: Stores, scale: Scale, asked: Sequence[list[str]], before: int, queries: NDArray[np.float32]
) -> tuple[list[Figure], list[dict[str, Any]]]:
    """`Searcher.search`, step by step; the first `before` questions only warm the stores."""
    generation = generations.live(stores)
    assert generation is not None
    searcher = Searcher(stores, lambda path: Given(queries, generation.fingerprint))  # type: ignore[arg-type, return-value]
    runs: dict[str, list[dict[str, float]]] = {}
    sizes: list[int] = []
    ways: tuple[VectorPlan | None, ...] = (None, "ids") if scale.listings <= BY_IDS else (None,)
    for number, names in enumerate(asked):
        filters = Filters(near=tuple(names), hops=2)
        for way in ways:
            if way and not before <= number < before + FEW:
                continue
            request = SearchRequest(image=picture(2 * number + bool(way)), filters=filters, k=K, plan=way)
            reply = searcher.search(request)
            name = str(way or ("planner" if number >= before else "just started" if number < FIRST else "between"))
            runs.setdefault(name, []).append(
                {**reply.timings_ms, "taken": reply.timings_ms["total"] - reply.timings_ms.get("encode", 0)}
            )
        if number < before:
            continue
        selection = selected(stores, filters)
        view = stores.resident.view(generation, 0)
        assert not isinstance(view, str)
        sizes.append(view.inside(selection).count(generation.first(stores.vectors.prefix)))
    steps = []
    for way, timings in runs.items():
        names = list(dict.fromkeys(name for one in timings for name in one))
        steps.append(
            {"way": way, **{name: float(np.median([one.get(name, 0.0) for one in timings])) for name in names}}
        )
    medians = {way: float(np.median([one["taken"] for one in timings])) for way, timings in runs.items()}
    ours, plain = medians["planner"], medians.get("ids")
    inside = int(np.median(sizes))
    goal = f"at most {GOAL_MS:g} ms at {GOAL_SIZE:,}"
    met = ours <= GOAL_MS if scale.listings >= GOAL_SIZE else None
    name = f"{inside:,} of {scale.listings:,} listings from two hops"
    p95 = float(np.percentile([one["taken"] for one in runs["planner"]], 95))
    first = medians["just started"]
    return [
        Figure(
            f"{name}: p50 after {before} others, question to results (baseline: plan ids)", ours, "ms", plain, goal, met
        ),
        Figure(f"{name}: p95 after {before} others", p95, "ms"),
        Figure(f"{name}: p50 of the first {min(FIRST, before)}", first, "ms"),
    ], steps


def copy_alone(
    catalogue: Catalogue, asked: Sequence[set[str]], queries: NDArray[np.float32], folder: Path
) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Mask, scan and final scores, timed apart."""
    write(folder, as_rows(catalogue), catalogue.scale.dim, "float32")
    rows = mapped(folder)
    taken: list[tuple[float, float, float, float, int]] = []
    for number in range(-1, len(asked)):
        start, own = time.perf_counter(), time.process_time()
        mask = rows.mask(Leaf("near", sorted(asked[number])))
        there, used = time.perf_counter(), time.process_time()
        question = queries[number % len(queries)][None]
        nobody = Ask(None, "", (question,), K)  # type: ignore[arg-type]  # no store is asked
        plans.resident(nobody, CopyAlone(rows, mask))
        end, at_end = time.perf_counter(), time.process_time()
        if number >= 0:
            spent = there - start, end - there, used - own, at_end - used
            taken.append((*(1000 * seconds for seconds in spent), int(mask.sum())))
    mask_ms, scored_ms, mask_cpu, scored_cpu, inside = (float(np.median(column)) for column in zip(*taken, strict=True))
    size = len(catalogue.ids)
    plain = []
    for number in range(3):
        start, own = time.perf_counter(), time.process_time()
        scores = catalogue.vectors @ queries[number % len(queries)]
        np.argpartition(scores, -K)
        plain.append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - own)))
    wall, cpu = (float(np.median(column)) for column in zip(*plain, strict=True))
    name = f"{int(inside):,} of {size:,} listings from two hops, the copy alone: mask and scan"
    figures = [
        Figure(f"{name}, p50 (baseline: numpy over all)", mask_ms + scored_ms, "ms", wall),
        Figure(f"{name}, processor time (baseline: numpy over all)", mask_cpu + scored_cpu, "ms", cpu),
    ]
    steps = {"mask": mask_ms, "scan and scores": scored_ms}
    used_up = {"mask": mask_cpu, "scan and scores": scored_cpu}
    return figures, [{"way": "copy alone", **steps}, {"way": "copy alone, processor time", **used_up}]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=20, help="questions that count")
    parser.add_argument("--before", type=int, default=100, help="questions before those that count")
    parser.add_argument("--quick", action="store_true", help="3,000 listings, few questions")
    parser.add_argument("--copy-only", action="store_true", help="without stores")
    parser.add_argument("--home", type=Path, help="keep the loaded stores there, and take them from there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    size = min(options.size, 3000) if options.quick else options.size
    asked = min(options.asked, 4) if options.quick else options.asked
    before = 4 if options.quick else max(1, options.before)
    every = asked if options.copy_only else before + asked
    scale = Scale(size, dim=256)
    edges, queries = scale.edges(), scale.queries(max(every, 2))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        catalogue = Catalogue(scale, drawn=options.copy_only)
        wanted = seeds(edges, Counter(catalogue.brands), size, every)
        if options.copy_only:
            keys = [near(edges, names, 2) for names in wanted]
            made, steps = copy_alone(catalogue, keys, queries, folder / "copy")
        else:
            stores = loaded(stack, Home(options.home or folder / "home"), scale)
            made, steps = through_stores(stores, scale, wanted, before, queries)
    head = list(dict.fromkeys(name for one in steps for name in one))
    print_table(
        head, [[f"{v:.2f}" if isinstance(v := one.get(name, ""), float) else v for name in head] for one in steps]
    )
    write_figures(made, None)
    if options.out:
        write_json(options.out, {**document(made), "steps_ms": steps})


if __name__ == "__main__":
    main()
