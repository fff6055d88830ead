"""The nearest products inside what the graph allows: ours against neo4j-graphrag and langchain-milvus, call by call.

    python -m benchmarks.peers [--size N] [--dim D] [--peers PYTHON] [--neo4j HOME] [--quick] --out FILE

A made-up catalogue (`skugraph scale`), an attribute of which a known fraction of the products has each value, questions
near some leaf and brand. The truth is numpy's. Ours is asked as a library, with given vectors, and takes whatever plan
the planner takes; it resolves the entity, and reads the product cards of what it found, as the peers return properties.
`--peers` names a Python that has the peers (`pip install "skugraph[bench]"` beside these packages, or in an environment
of their own); `--neo4j` a folder with Neo4j's jars in `lib/`: without it only the embedded stores are measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from api.results import listings
from api.search import Searcher
from benchmarks.figures import Figure, document, print_table, pyplot, write_json
from benchmarks.filtered_systems import nearest, no_encoder
from kg.filters import Filters
from kg.home import Home
from kg.migrate import migrate
from kg.scale import Scale, load
from kg.settings import load_settings
from kg.stores import Stores, open_stores, stop_stores

SHARES = (0.001, 0.01, 0.1, 0.5)
K = 10
SCRIPT = Path(__file__).with_name("peers_asked.py")
RECALL = 0.99
START_S = 600.0  # of Neo4j, which compiles its launcher first, on a busy machine


@dataclass(frozen=True)
class Measured:
    """One way of asking, at one fraction kept.

    Attributes:
        ms: of each question.
        ids: of each answer.
        plan: that was taken, where it was ours.
    """

    who: str
    share: float
    ms: Sequence[float]
    ids: Sequence[Sequence[str]]
    plan: str = ""


@dataclass(frozen=True)
class World:
    """The catalogue, as arrays."""

    scale: Scale
    ids: list[str]
    vectors: NDArray[np.float32]
    luck: NDArray[np.float64]
    questions: NDArray[np.float32]

    @classmethod
    def of(cls, scale: Scale, questions: int) -> World:
        ids = [product.id for product in scale.all_products()]
        shards = range(scale.shards)
        vectors = np.concatenate([scale.vectors(shard) for shard in shards])
        luck = np.concatenate([scale.luck(shard) for shard in shards])
        return cls(scale, ids, vectors, luck, scale.queries(questions))

    def truth(self, share: float) -> list[NDArray[np.float64]]:
        """Cosines of the K best of each question, best first."""
        inside = self.vectors[self.luck < share].astype(float)
        return [np.sort(inside @ question)[::-1][:K] for question in self.questions.astype(float)]

    def recall(self, found: Measured) -> tuple[float, float]:
        """How many of the K best were found (equal cosines count alike), and returned over requested."""
        number = {id: at for at, id in enumerate(self.ids)}
        right = wanted = returned = 0
        for question, best, ids in zip(self.questions, self.truth(found.share), found.ids, strict=False):
            rows = [number[id] for id in dict.fromkeys(ids) if id in number and self.luck[number[id]] < found.share]
            cosines = self.vectors[rows].astype(float) @ question.astype(float)
            right += min(int((cosines >= best[-1] - 1e-6).sum()), len(best))
            wanted += len(best)
            returned += len(ids)
        return right / max(1, wanted), returned / max(1, wanted)


def ours(stores: Stores, world: World, seconds: float, name: str) -> Iterator[Measured]:
    """The planner's answers, question by question."""
    searcher = Searcher(stores, no_encoder)
    stores.resident.build()

    def ask(question: NDArray[np.float32], share: float) -> tuple[list[str], str]:
        plan, ids = nearest(searcher, Filters(entity=(f"share:{share:g}",)), question, K)
        listings(stores.graph, ids)
        return ids, plan

    for share in world.scale.shares:
        ask(world.questions[-1], share)
        times, answers, plan, until = [], [], "", time.perf_counter() + seconds
        for question in world.questions:
            started = time.perf_counter()
            found, plan = ask(question, share)
            times.append(1000 * (time.perf_counter() - started))
            answers.append(found)
            if time.perf_counter() > until:
                break
        yield Measured(name, share, times, answers, plan)


def theirs(python: str, folder: Path, world: World, task: dict[str, Any], seconds: float) -> list[Measured]:
    """What the peers answer, in their own process; nothing where they are not installed."""
    np.save(folder / "questions.npy", world.questions)
    np.save(folder / "vectors.npy", world.vectors)
    np.save(folder / "luck.npy", world.luck)
    (folder / "ids.txt").write_text("\n".join(world.ids))
    files = {"questions": "questions.npy", "vectors": "vectors.npy", "luck": "luck.npy", "ids": "ids.txt"}
    task |= {name: str(folder / file) for name, file in files.items()}
    task |= {"shares": world.scale.shares, "k": K, "seconds": seconds, "dim": world.scale.dim}
    (folder / "task.json").write_text(json.dumps(task))
    done = subprocess.run(
        [python, str(SCRIPT), str(folder / "task.json")], stdout=subprocess.PIPE, text=True, check=True, cwd=folder
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for one in found:
        if "missing" in one:
            print(f"{one['peer']}: {one['missing']}", file=sys.stderr)
    return [Measured(one["peer"], one["share"], one["ms"], one["ids"]) for one in found if "missing" not in one]


@contextmanager
def neo4j(home: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Settings of a genuine server with an empty database."""
    from tests.neo4j_server import Neo4jServer  # only where a server is to be started

    folder.mkdir()
    server = Neo4jServer(home, folder).start(timeout_s=START_S)
    try:
        yield {"graph_uri": server.uri, "graph_user": server.user, "graph_password": SecretStr(server.password)}
    finally:
        server.stop()


def measure(options: argparse.Namespace, folder: Path) -> tuple[World, list[Measured]]:
    world = World.of(Scale(options.size, dim=options.dim, shares=SHARES), options.questions)
    found: list[Measured] = []
    home = Home(folder / "home")
    try:
        with open_stores(load_settings(home=home.root)) as stores:
            _load(stores, world)
            found += ours(stores, world, options.seconds, "skugraph, embedded")
            for index in ("AUTOINDEX", "FLAT"):
                task = {"kind": "milvus", "uri": stores.vectors_uri, "collection": f"peers_{index}", "index": index}
                found += theirs(options.peers, folder, world, task, options.seconds)
            if options.neo4j is None:
                return world, found
            with neo4j(options.neo4j, folder / "neo4j") as server:
                named = {**server, "vectors_uri": stores.vectors_uri, "vectors_prefix": "second"}
                settings = load_settings(home=Home(folder / "second").create().root, **named)
                with open_stores(settings, checked=False) as second:
                    migrate(second.graph)
                    _load(second, world)
                    found += ours(second, world, options.seconds, "skugraph, Neo4j")
                password = server["graph_password"].get_secret_value()
                task = {"kind": "neo4j", "uri": server["graph_uri"], "user": server["graph_user"], "password": password}
                found += theirs(options.peers, folder, world, task, options.seconds)
    finally:
        stop_stores(home)
    return world, found


def table(world: World, found: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row a way of asking and fraction kept."""
    rows = []
    for one in found:
        recall, returned = world.recall(one)
        ms = np.array(one.ms)
        rows.append(
            {
                "who": one.who, "kept": one.share, "plan": one.plan, "questions": len(ms),
                "qps": round(1000 / float(ms.mean()), 2), "p50_ms": round(float(np.percentile(ms, 50)), 2),
                "p95_ms": round(float(np.percentile(ms, 95)), 2), "recall": round(recall, 4),
                "returned": round(returned, 4),
            }
        )  # fmt: skip
    return rows


def figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """Our QPS against the best peer whose recall is as good, at each fraction kept; and that nothing is missing."""
    found = []
    for row in rows:
        if not row["who"].startswith("skugraph"):
            continue
        peers = [
            other
            for other in rows
            if not other["who"].startswith("skugraph") and other["kept"] == row["kept"] and other["recall"] >= RECALL
        ]
        best = max((other["qps"] for other in peers), default=None)
        times = 10 if row["kept"] >= 0.01 else 2
        whole = row["recall"] >= RECALL and row["returned"] == 1
        met = whole and best is not None and row["qps"] >= times * best
        goal = f"{times} × the best peer with a recall of {RECALL}, never fewer than {K}"
        name = f"{row['who']}: QPS, {row['kept']:.1%} kept ({row['plan']})"
        found.append(Figure(name, row["qps"], "questions/s", best, goal, None if best is None else met))
    return found


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Questions/s over the share that is kept, a line each; those that miss some are dashed."""
    if (plt := pyplot()) is None:
        return
    figure, axes = plt.subplots(figsize=(8, 5))
    for who in dict.fromkeys(row["who"] for row in rows):
        mine = sorted((row for row in rows if row["who"] == who), key=lambda row: float(row["kept"]))
        low = min(row["recall"] for row in mine)
        label, style = (who, "-") if low >= RECALL else (f"{who} (recall from {low:.2f})", "--")
        width = 2.5 if who.startswith("skugraph") else 1.2
        shares, rates = [100 * row["kept"] for row in mine], [row["qps"] for row in mine]
        axes.plot(shares, rates, style, marker="o", markersize=3, linewidth=width, label=label)
    axes.set(xscale="log", yscale="log", xlabel="% of the catalogue inside the filter", ylabel="questions/s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _load(stores: Stores, world: World) -> None:
    def say(what: str, done: int, total: int) -> None:
        if done % 10_000 == 0:
            print(f"{stores.graph.engine}: {what} {done:,} of {total:,}", file=sys.stderr, flush=True)

    loaded = load(stores, world.scale, say)
    print(f"{stores.graph.engine}: loaded, {loaded.seconds}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000, help="listings")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20, help="most for one way of asking and fraction kept")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="one that has the peers")
    parser.add_argument("--neo4j", type=Path, metavar="HOME", help="folder with Neo4j's jars in lib/")
    parser.add_argument("--quick", action="store_true", help="2,000 listings of 32 dimensions, 20 questions")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.size, options.dim, options.questions, options.seconds = 2000, 32, 20, 5
    with tempfile.TemporaryDirectory() as folder:
        world, found = measure(options, Path(folder))
    rows = table(world, found)
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    shown = figures(rows)
    print_table(
        ("figure", "value", "best peer", "ratio", "goal", "met"),
        [(f.name, f.value, f.baseline or "", f"{f.ratio:.3g}" if f.ratio else "", f.goal, f.met) for f in shown],
    )
    if options.out:
        about = {"size": options.size, "dim": options.dim, "k": K, "rows": rows}
        write_json(options.out, about | document(shown))
        plot(rows, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
