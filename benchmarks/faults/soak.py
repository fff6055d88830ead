"""The run itself: a change of model under search load, while the catalogue changes and processes are killed; and then
whether anything is lost, doubled or mixed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.killing import Kill, Killer
from benchmarks.faults.load import Answers, Judgement, SearchLoad, answers, judge
from benchmarks.faults.rig import Rig
from benchmarks.faults.shop import Shop
from kg.audit import audit
from kg.errors import JobError, SkugraphError, StoreDown
from kg.stores import Stores
from kg.vectors import generations
from workers.following import behind
from workers.jobs import Job, get_job, resume, submit_embed
from workers.orders import submit_follow, submit_reembed

__all__ = ["Contents", "Difference", "Report", "Soak", "compare", "contents"]

JOB_S = 900.0  # longest time for one job, kills included
AWAY_S = 180.0  # longest time that an order is tried again while a process is away
NOISE = 1e-5  # of two forward passes of the same input in batches of another make-up

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Contents:
    """All rows of one collection: instance → content hash, revision, vector; `doubled` keys came more than once."""

    rows: dict[str, tuple[str, int, NDArray[np.float32]]]
    doubled: list[str]


@dataclass
class Difference:
    """Of what a disturbed and an undisturbed run have left in one collection."""

    rows: int = 0
    lost: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    furthest: float = 0.0

    @property
    def none(self) -> bool:
        return not (self.lost or self.surplus or self.doubled or self.other)

    def json(self) -> dict[str, Any]:
        lists = {name: getattr(self, name) for name in ("lost", "surplus", "doubled", "other")}
        counts = {name: len(found) for name, found in lists.items()}
        return {"rows": self.rows, **counts, "furthest": self.furthest, "first": {n: f[:3] for n, f in lists.items()}}


@dataclass
class Report:
    """What one run found.

    Attributes:
        building: kills until the other generation was built; the rest fell between and into switches.
        searches: while processes were killed.
        undisturbed: while generations were built anew and nothing was killed.
        jobs_failed: what jobs that had to be resumed by hand had failed of.
        faults: of the audit, all kinds.
        lost_changes: products that the graph does not hold as they were last written.
    """

    kills: list[Kill] = field(default_factory=list)
    building: int = 0
    searches: Judgement = field(default_factory=Judgement)
    undisturbed: list[Judgement] = field(default_factory=list)
    jobs_failed: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    first_faults: list[dict[str, Any]] = field(default_factory=list)
    lost_changes: list[str] = field(default_factory=list)
    differences: dict[str, Difference] = field(default_factory=dict)
    switches: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        fine = all(one.fine for one in (self.searches, *self.undisturbed))
        fine = fine and not (self.jobs_failed or self.lost_changes)
        return fine and not sum(self.faults.values()) and all(one.none for one in self.differences.values())

    def json(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "kills": [kill.json() for kill in self.kills],
            "building": self.building,
            "searches": self.searches.json(),
            "undisturbed": [one.json() for one in self.undisturbed],
            "jobs_failed": self.jobs_failed,
            "faults": self.faults,
            "first_faults": self.first_faults,
            "lost_changes": self.lost_changes[:20],
            "differences": {name: one.json() for name, one in self.differences.items()},
            "switches": self.switches,
            "seconds": self.seconds,
        }


@dataclass
class Soak:
    """A rig with a catalogue and two encoders, of which one is live.

    Args:
        rig: entered.
        shop: what it sells.
        encoders: checkpoint folders in the home's `models`; the first is live after `prepare`.
        asks: questions of the search load.
        threads: of the search load.
        changes: products that change at once, every `every_s` seconds.
        say: is told of every step.
    """

    rig: Rig
    shop: Shop
    encoders: tuple[Path, Path]
    questions: int = 30
    threads: int = 2
    pause_s: float = 0.05
    changes: int = 10
    every_s: float = 3.0
    seed: int = 0
    say: Say = print
    record: Path | None = None

    def __post_init__(self) -> None:
        self.asks = self.shop.asks(self.questions)

    @property
    def stores(self) -> Stores:
        return self.rig.stores

    def load(self) -> SearchLoad:
        """Searches, to be had by `with`."""
        options = {"threads": self.threads, "pause_s": self.pause_s, "seed": self.seed}
        return SearchLoad(self.rig.url, self.asks, record=self.record, **options)

    def prepare(self) -> None:
        """The catalogue ingested and embedded with the first encoder, nothing disturbed."""
        self.shop.ingest(self.stores)
        self.done(submit_embed(self.stores, self.encoders[0]), Report())

    def run(
        self, kills: int, names: Sequence[str], *, heal: float = 0.5, pause_s: tuple[float, float] = (1, 6)
    ) -> Report:
        """Another encoder takes the place of the live one while `kills` processes are killed; then it is compared."""
        began, report, chance = time.monotonic(), Report(), random.Random(self.seed)
        live = generations.live(self.stores)
        assert live is not None
        other = next(path for path in self.encoders if str(path) != live.encoder_path)
        right: Answers = answers(self.rig.url, self.asks)
        killer = Killer(
            self.rig,
            kills,
            names=names,
            seed=self.seed,
            heal=heal,
            pause_s=pause_s,
            say=lambda kill: self._killed(kill, kills),
        )
        with self.load() as load, _Changing(self, chance):
            killer.start()
            job = patient(lambda: submit_reembed(self.stores, other))
            new = self.done(job, report).generation
            report.building = len(killer.kills)
            self.say(f"{new} is built, {report.building} of {kills} kills done")
            while killer.is_alive():
                self.switch(new if report.switches % 2 == 0 else live.id)
                report.switches += 1
                time.sleep(chance.uniform(0.5, 2.0))
            killer.finish()
        self.catch_up(report)
        for name in (live.id, new):
            self.switch(name)
            right |= answers(self.rig.url, self.asks)
        report.kills = killer.kills
        report.searches = judge(load.replies, right, self.rig.was_away)
        self.examine(report, (live.id, new), right)
        report.seconds = time.monotonic() - began
        return report

    def examine(self, report: Report, names: Sequence[str], right: Answers) -> None:
        """The audit, what the graph holds, and each generation against one that is built anew while nothing is killed.
        The last of `names` is live."""
        found = audit(self.stores)
        report.faults = {kind: count for kind, count in found.faults.items() if count}
        report.first_faults = [vars(fault) for fault in found.first[:10]]
        report.lost_changes = self.shop.lost(self.stores)
        disturbed = {name: self._all(name) for name in names}
        for name, next_live in zip(names, reversed(names), strict=True):
            self.switch(next_live)
            generation = generations.get(self.stores, name)
            self.order("POST", f"/v1/generations/{name}:retire", {"force": True, "reason": "built anew to compare"})
            with self.load() as load:
                self.done(submit_reembed(self.stores, generation.encoder_path), report)
            report.undisturbed.append(judge(load.replies, right, self.rig.was_away))
            for kind, undisturbed in self._all(name).items():
                report.differences[f"{name} {kind}"] = compare(disturbed[name][kind], undisturbed)
            self.say(f"{name} against an undisturbed run: {'the same' if self._same(report, name) else 'NOT the same'}")

    @staticmethod
    def _same(report: Report, name: str) -> bool:
        return all(one.none for key, one in report.differences.items() if key.startswith(name))

    def _all(self, generation: str) -> dict[str, Contents]:
        found = generations.get(self.stores, generation).collections(self.stores.vectors.prefix)
        return {kind: contents(self.stores, name) for kind, name in found.items()}

    def _killed(self, kill: Kill, of: int) -> None:
        healed = f", whole again after {kill.healed_s:.1f} s" if kill.healed_s is not None else ""
        self.say(f"{kill.after_s:7.1f} s  kill -9 {kill.name} (pid {kill.pid}){healed}")

    def switch(self, generation: str) -> None:
        """Let this one be live, by REST; an order whose answer is lost is given again."""
        self.order("POST", f"/v1/generations/{generation}:promote", {"reason": "a test of faults"})

    def order(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The reply of the API; asked again while it, or a store behind it, is away.

        Raises:
            JobError: it is refused, or was away for too long.
        """
        end = time.monotonic() + AWAY_S
        while True:
            why = ""
            try:
                answer = httpx.request(method, self.rig.url + path, json=body, timeout=120)
                if answer.status_code < 300:
                    return answer.json()
                why = answer.text
                if answer.status_code != 503:
                    raise JobError(f"{method} {path}: {answer.status_code} {why}")
            except httpx.HTTPError as error:
                why = str(error)
            if time.monotonic() > end:
                raise JobError(f"{method} {path}: no reply in {AWAY_S:g} s ({why})")
            time.sleep(0.2)

    def done(self, job: Job, report: Report) -> Job:
        """The job at its end; one that failed is written down and resumed.

        Raises:
            JobError: it does not end.
        """
        end = time.monotonic() + JOB_S
        while (seen := patient(lambda: get_job(self.stores, job.id))).state != "done":
            if seen.state in ("failed", "cancelled"):
                report.jobs_failed.append(f"{seen.id}: {seen.state}, {seen.error}")
                self.say(f"job {seen.id} {seen.state}: {seen.error}")
                patient(lambda: resume(self.stores, job.id))
            if time.monotonic() > end:
                raise JobError(f"job {job.id} is {seen.state} at {seen.done} of {seen.total} after {JOB_S:g} s")
            time.sleep(0.1)
        return seen

    def catch_up(self, report: Report) -> None:
        """Let every generation embed what it lacks."""
        while late := behind(self.stores):
            for one in late:
                self.done(submit_follow(self.stores, one.id), report)


class _Changing(threading.Thread):
    """Changes some products every few seconds, as long as its `with` block lasts."""

    def __init__(self, soak: Soak, chance: random.Random) -> None:
        super().__init__(name="changing", daemon=True)
        self.soak, self.chance, self.over = soak, random.Random(chance.random()), threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self.over.wait(self.soak.every_s) and self.soak.changes:
                self.soak.shop.change(self.soak.changes, self.chance)
                patient(lambda: self.soak.shop.ingest(self.soak.stores))
        except SkugraphError as error:
            self.failure = error

    def __enter__(self) -> _Changing:
        self.start()
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self.over.set()
        self.join()
        if self.failure is not None and kind is None:
            raise self.failure


def patient(work: Callable[[], T]) -> T:
    """Result of `work`, tried again while a store is away.

    Raises:
        StoreDown: it is away for too long.
    """
    end = time.monotonic() + AWAY_S
    while True:
        try:
            return work()
        except StoreDown:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def contents(stores: Stores, collection: str) -> Contents:
    """Every row of a collection."""
    rows: dict[str, tuple[str, int, NDArray[np.float32]]] = {}
    doubled = []
    for batch in stores.vectors.scan(collection, ("instance_id", "content_hash", "revision", "vector")):
        for row in batch:
            if row["instance_id"] in rows:
                doubled.append(row["instance_id"])
            rows[row["instance_id"]] = (row["content_hash"], row["revision"], np.asarray(row["vector"], np.float32))
    return Contents(rows, doubled)


def compare(disturbed: Contents, undisturbed: Contents) -> Difference:
    """Same keys, same contents, and vectors that differ by no more than the noise of floats."""
    mine, other = disturbed.rows, undisturbed.rows
    found = Difference(len(mine), sorted(other.keys() - mine.keys()), sorted(mine.keys() - other.keys()))
    found.doubled = sorted(disturbed.doubled)
    for name in sorted(mine.keys() & other.keys()):
        far = float(np.abs(mine[name][2] - other[name][2]).max())
        found.furthest = max(found.furthest, far)
        if mine[name][:2] != other[name][:2] or far > NOISE:
            found.other.append(name)
    return found
