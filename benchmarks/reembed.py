"""A change of model while searches go on and processes are killed: what is lost, how slow, how fast one switches.

    python -m benchmarks.reembed [--size N] [--kills N] [--seed N] [--quick] [--out FILE]

API, worker, embedded stores and, where `redis-server` is found, Redis run as processes of their own in a temporary
home. A few users search over REST all the time, and every reply is held against what the generation that it names
answers when it is asked alone. While another generation is built, and then while the two are switched back and forth,
`--kills` processes are killed with -9, drawn at random; half the time the next one falls before the last is whole
again. Meanwhile products change. Afterwards both generations are built anew with nothing killed, and compared row by
row.

The encoders cost next to nothing (`benchmarks/cheap.py`), so that the stores and the search have the machine
to themselves: ratios of latency are those of a worker on a device of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cheap import write_cheap
from benchmarks.faults.__main__ import KILLED, killable, open_soak, settings
from benchmarks.faults.load import Judgement, answers, judge
from benchmarks.faults.rig import Rig
from benchmarks.faults.soak import Report, Soak
from benchmarks.figures import Figure, write_figures
from kg.settings import load_settings
from kg.vectors import generations, switching
from workers.jobs import wait
from workers.orders import Judged, submit_reembed

__all__ = ["main"]

IDLE_S = 15.0  # of searches with nothing else going on
SWITCHES = 10  # of each direction, and as many more as fit into the time of the idle searches
JUDGED = 200  # queries that the gate rests on
WORSE = 1  # buckets of the worse encoder: every word is the same to it


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=20_000, help="instances; two for each product")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few hundred instances, two kills")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    size, kills = (min(options.size, 400), min(options.kills, 2)) if options.quick else (options.size, options.kills)
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        with Rig(load_settings(**settings(folder))) as rig:
            soak = open_soak(rig, folder, products=size // 2, seed=options.seed, say=_say)
            figures = measure(soak, folder, kills, idle_s=2.0 if options.quick else IDLE_S)
    write_figures(figures, options.out)


def measure(soak: Soak, folder: Path, kills: int, *, idle_s: float = IDLE_S) -> list[Figure]:
    """All figures of one rig."""
    began = time.monotonic()
    soak.prepare()
    _say(f"{soak.shop.products:,} products embedded after {time.monotonic() - began:.0f} s")
    idle = idling(soak, idle_s)
    report = soak.run(kills, killable(soak.rig))
    calm, busy = idling(soak, idle_s), report.undisturbed[-1]
    switched = switching_times(soak, idle_s)
    refused = gate_refuses(soak, folder)
    rows = sum(one.rows for one in report.differences.values()) // 2
    return [*_faults(report, kills, rows), *_latency(report, [idle, calm], busy), *switched, refused]


def _faults(report: Report, kills: int, rows: int) -> list[Figure]:
    def none(name: str, value: int) -> Figure:
        return Figure(name, value, "", None, "0", value == 0)

    searches, differences = report.searches, report.differences.values()
    healed = [kill.healed_s for kill in report.kills if kill.healed_s is not None]
    per_kind = {name: sum(kill.name == name for kill in report.kills) for name in KILLED}
    return [
        Figure("instances of each generation", rows, "rows"),
        Figure("processes killed with -9", len(report.kills), "", kills),
        *(Figure(f"killed: {name}", count, "") for name, count in per_kind.items()),
        Figure("of these while the generation was being built", report.building, ""),
        Figure("until all was whole again, median", statistics.median(healed) if healed else 0.0, "s"),
        Figure("searches meanwhile", searches.searches, ""),
        Figure("refused or cut off by the kill of the API itself", searches.cut, ""),
        none("failed searches otherwise", searches.failed),
        none("replies with fewer hits than there are", searches.short),
        none("replies of mixed generations", searches.mixed),
        none("instances lost", sum(len(one.lost) for one in differences)),
        none("instances doubled", sum(len(one.doubled) for one in differences)),
        none("instances left over", sum(len(one.surplus) for one in differences)),
        none("instances of other content or vector than undisturbed", sum(len(one.other) for one in differences)),
        none("changes of the catalogue lost", len(report.lost_changes)),
        none("faults that the audit found", sum(report.faults.values())),
        none("jobs that had to be resumed by hand", len(report.jobs_failed)),
        Figure("promotions during the kills", report.switches, ""),
    ]


def _latency(report: Report, idle: Sequence[Judgement], busy: Judgement) -> list[Figure]:
    found = [Figure("searches while embedding, nothing killed", busy.searches, "")]
    for name in ("p50_ms", "p95_ms"):
        base = statistics.mean(getattr(one, name) for one in idle)
        short = name.removesuffix("_ms")
        found.append(Figure(f"search {short} while embedding, against idle", getattr(busy, name), "ms", base))
        found.append(
            Figure(f"search {short} during the kills, against idle", getattr(report.searches, name), "ms", base)
        )
    found.append(Figure("the slowest search that was answered during the kills", report.searches.worst_ms, "ms"))
    return found


def idling(soak: Soak, seconds: float) -> Judgement:
    """The same searches with nothing else going on."""
    right = answers(soak.rig.url, soak.asks)
    with soak.load() as load:
        time.sleep(seconds)
    return judge(load.replies, right, soak.rig.was_away)


def switching_times(soak: Soak, seconds: float) -> list[Figure]:
    """Promote and roll back, in the time of the command, without and under search load of so many seconds."""
    stores = soak.stores
    live = generations.live_id(stores)
    other = next(one.id for one in generations.listing(stores) if one.state == "shadow")
    right = answers(soak.rig.url, soak.asks)
    soak.switch(other)
    right |= answers(soak.rig.url, soak.asks)
    soak.switch(live)

    def some(seconds: float = 0) -> tuple[float, float]:
        promoted, back = list[float](), list[float]()
        until = time.monotonic() + seconds
        while len(back) < SWITCHES or time.monotonic() < until:
            promoted.append(_timed(lambda: switching.promote(stores, other)))
            back.append(_timed(lambda: switching.rollback(stores)))
        return statistics.median(promoted), statistics.median(back)

    idle = some()
    with soak.load() as load:
        loaded = some(seconds)
    found = judge(load.replies, right, soak.rig.was_away)
    figures = [
        Figure(f"{name} under search load, against idle", at_work, "ms", alone)
        for name, at_work, alone in zip(("promote", "roll back"), loaded, idle, strict=True)
    ]
    wrong = found.failed + found.short + found.mixed
    return [
        *figures,
        Figure(f"wrong replies of {found.searches} during these switches", wrong, "", None, "0", not wrong),
    ]


def gate_refuses(soak: Soak, folder: Path) -> Figure:
    """Whether an encoder that finds less is kept from going live."""
    stores, live = soak.stores, generations.live_id(soak.stores)
    queries = [(f"q{number}", number) for number in range(0, min(soak.shop.products, 2 * JUDGED), 2)]
    lines = [json.dumps({"id": name, "text": soak.shop.title(number)}) for name, number in queries]
    (folder / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "qrels.txt").write_text("".join(f"{name} 0 s{number} 1\n" for name, number in queries), encoding="utf-8")
    gates = [{"scope": "overall", "metric": "nDCG@10", "loss": 0.02}]
    (folder / "gates.json").write_text(json.dumps({"gates": gates}), encoding="utf-8")
    judged = Judged(str(folder / "queries.jsonl"), str(folder / "qrels.txt"), str(folder / "gates.json"), "text")
    worse = write_cheap(soak.rig.home.models / "worse", seed=3, words=WORSE)
    job = wait(stores, submit_reembed(stores, worse, judged=judged, promote=True).id, timeout_s=900)
    kept = generations.live_id(stores) == live
    found = json.loads(generations.get(stores, job.generation).evaluation)["metrics"]
    _say(
        f"nDCG@10 {found['live']['nDCG@10']:.3f} live, {found['shadow']['nDCG@10']:.3f} worse: {job.state}, {job.error}"
    )
    refused = job.state == "failed" and "is not promoted" in job.error and kept
    return Figure("promotions of a worse encoder that the gate refused", int(refused), "", None, "1", refused)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
