"""What runs where, in which version and with what in it; for each fault one line that says what to do."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from api.client import RUN_NAME
from kg import entity_vectors
from kg.errors import SkugraphError, StoreDown
from kg.graph.cypher import health
from kg.home import Home
from kg.migrate import applied, pending
from kg.settings import Settings
from kg.stores import Stores, open_stores, running
from kg.vectors import generations
from kg.vectors.generations import Generation
from workers.jobs import list_jobs
from workers.process import workers_alive

__all__ = ["Check", "Report", "examine"]

LITE_WARN, LITE_MOST = 30_000, 100_000  # instances: Milvus Lite walks all of them in every search
DISK_LEAST = 1 << 30  # bytes
PACKAGES = ("neo4j", "pymilvus", "milvus-lite", "arcadedb-embedded", "celery", "torch")


@dataclass(frozen=True)
class Check:
    """One part of the installation."""

    part: str
    state: str
    where: str = ""
    version: str = ""
    holds: str = ""

    def row(self) -> tuple[str, ...]:
        return (self.part, self.state, self.where, self.version, self.holds)


@dataclass
class Report:
    """All parts, and what is wrong with them."""

    checks: list[Check] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return {"checks": [asdict(check) for check in self.checks], "faults": self.faults, "ok": not self.faults}

    @contextmanager
    def part(self, name: str, where: str = "") -> Iterator[None]:
        """What fails in this block is a fault of this part, and the examination goes on."""
        try:
            yield
        except SkugraphError as error:
            self.checks.append(Check(name, "down" if isinstance(error, StoreDown) else "fault", where))
            self.faults.append(f"{name}: {error}")


def examine(settings: Settings) -> Report:
    """Look at everything. Embedded stores that have data but do not run are started for the look."""
    report, home = Report(), Home(settings.home)
    report.checks.append(_software())
    _home(report, home)
    if settings.graph_uri is None and not home.graph.is_dir():
        report.checks.append(Check("stores", "not set up yet", str(home.root)))
        report.faults.append("stores: this home is empty: `skugraph demo` or `skugraph ingest` fills it")
        return report
    before = running(home) or {}
    where = settings.graph_uri or str(home.graph)
    with report.part("graph", where), open_stores(settings, checked=False) as stores:
        services = running(home) or {}
        for name in services:
            _service(report, name, services[name], started=name not in before)
        with report.part("graph", stores.graph.address):
            _graph(report, stores)
        with report.part("vectors", stores.vectors_uri):
            _vectors(report, stores)
            _entities(report, stores)
        with report.part("jobs"):
            _jobs(report, stores)
    _workers(report, settings)
    _api(report, home)
    return report


def _software() -> Check:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return Check("skugraph", "installed", version=importlib.metadata.version("skugraph"), holds=", ".join(found))


def _home(report: Report, home: Home) -> None:
    if not home.root.is_dir():
        return
    free = shutil.disk_usage(home.root).free
    report.checks.append(Check("home", "ok", str(home.root), holds=f"{free / 2**30:.1f} GiB free on its disk"))
    if free < DISK_LEAST:
        report.faults.append(f"home: {free / 2**20:.0f} MiB free on the disk of {home.root}: make room")


def _service(report: Report, name: str, service: dict[str, Any], *, started: bool) -> None:
    state = "started for this look" if started else "running"
    holds = f"process {service['pid']}, {service['restarts']} restarts"
    report.checks.append(Check(f"{name} server", state, service["uri"], holds=holds))
    if service["restarts"]:
        report.faults.append(f"{name} server: crashed {service['restarts']} times and was healed: see {service['log']}")


def _graph(report: Report, stores: Stores) -> None:
    graph = stores.graph
    counts = {label: graph.read(statement)[0]["nodes"] for label, statement in health.COUNTS.items()}
    holds = ", ".join(f"{nodes:,} {label}" for label, nodes in counts.items())
    report.checks.append(Check("graph", "answers", graph.address, f"{graph.engine} {graph.version}", holds))
    steps, done = pending(graph), applied(graph)
    state = f"{len(steps)} steps pending" if steps else "up to date"
    report.checks.append(Check("schema", state, version=f"V{max(done, default=0):03d}"))
    if steps:
        report.faults.append(f"schema: {len(steps)} migrations are pending: `skugraph migrate`")
    if not counts["Product"]:
        report.faults.append("graph: it holds no product: `skugraph ingest TABLE --images PATH`")


def _vectors(report: Report, stores: Stores) -> None:
    vectors = stores.vectors
    names = vectors.collections()
    report.checks.append(
        Check(
            "vectors",
            "answers",
            vectors.address,
            f"{vectors.engine} {_number(vectors.version)}",
            f"{len(names)} collections",
        )
    )
    live = generations.live(stores)
    if live is None:
        report.faults.append("vectors: no generation is live: `skugraph train` and `skugraph embed --encoder DIR`")
        return
    _generation(report, stores, live)


def _number(version: str) -> str:
    return version.rpartition("-")[2] if version.startswith("milvus_lite") else version


def _generation(report: Report, stores: Stores, live: Generation) -> None:
    instances = {row["kind"]: row["instances"] for row in stores.graph.read(health.COUNT_INSTANCES)}
    counts = {
        kind: stores.vectors.count(name) for kind, name in live.collections(stores.settings.vectors_prefix).items()
    }
    stale = generations.stale(stores, live)
    holds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    report.checks.append(
        Check("generation", "live", live.encoder_path, f"{live.id} {live.encoder} {live.dim}-d", holds)
    )
    embed = f"`skugraph embed --encoder {live.encoder_path}`"
    if stale:
        report.faults.append(f"generation {live.id}: {stale:,} changes are not embedded: {embed}")
    for kind in sorted(set(counts) & set(instances)):
        lacking = instances[kind] - counts[kind]
        if not stale and lacking < 0 and not live.regions:  # regions are rows besides
            report.faults.append(
                f"generation {live.id}: {-lacking:,} {kind} vectors too many: `skugraph audit --repair`"
            )
        elif not stale and lacking > 0:
            report.faults.append(
                f"generation {live.id}: {lacking:,} {kind} instances have no vector: `skugraph jobs` names the rejects"
            )
    if not Path(live.encoder_path).is_dir():
        report.faults.append(
            f"generation {live.id}: its encoder {live.encoder_path} is gone: put it back, or train and embed anew"
        )
    total = sum(counts.values())
    if stores.vectors.engine == "milvus_lite" and total > LITE_WARN:
        most = "far too slow" if total > LITE_MOST else "slow"
        report.faults.append(
            f"vectors: {total:,} in Milvus Lite is {most}: set SKUGRAPH_VECTORS_URI to a Milvus server"
        )


def _entities(report: Report, stores: Stores) -> None:
    """The vectors of the entities; they are an extra, so there need not be any."""
    live, behind = entity_vectors.live(stores), entity_vectors.staleness(stores)
    if live is None or behind is None:
        report.checks.append(Check("entity vectors", "none; `skugraph gnn` makes them"))
        return
    holds = f"{behind.stale:,} of {behind.entities:,} entities stale"
    if behind.gone:
        holds += f", {behind.gone:,} vectors of entities that are gone"
    state = "stale" if behind.stale or behind.gone else "live"
    report.checks.append(Check("entity vectors", state, live.encoder_path, f"{live.dim}-d", holds))
    if behind.stale:
        report.faults.append(f"entity vectors: {behind.stale:,} of {behind.entities:,} entities stale: `skugraph gnn`")
    if not Path(live.encoder_path).is_dir():
        report.faults.append(f"entity vectors: their encoder {live.encoder_path} is gone: `skugraph gnn`")


def _jobs(report: Report, stores: Stores) -> None:
    jobs = list_jobs(stores)
    open_jobs = [job for job in jobs if not job.over]
    report.checks.append(Check("jobs", f"{len(open_jobs)} open", holds=f"{len(jobs)} latest known"))
    seen = set()
    for job in jobs:  # newest first: an old failure that a later job has made good is no fault
        if (job.kind, job.target) not in seen and job.state == "failed":
            report.faults.append(f"job {job.id} failed: {job.error}: `skugraph jobs {job.id} --resume`")
        seen.add((job.kind, job.target))
    if any(job.state in ("queued", "running") for job in open_jobs) and not workers_alive(
        stores.settings, stores.graph
    ):
        report.faults.append(f"jobs: {len(open_jobs)} are open and no worker runs: `skugraph up`")


def _workers(report: Report, settings: Settings) -> None:
    broker = settings.broker_url.rpartition("@")[2] if settings.broker_url else str(Home(settings.home).broker)
    with report.part("worker", broker):
        found = workers_alive(settings)
        for worker in found:
            since = (
                datetime.fromtimestamp(worker["since"], UTC).isoformat(timespec="seconds") if "since" in worker else ""
            )
            report.checks.append(Check("worker", "running", broker, holds=f"{worker['worker']} {since}".strip()))
        if not found:
            report.checks.append(Check("worker", "none runs, or answers; commands start one when they need it", broker))


def _api(report: Report, home: Home) -> None:
    state = home.read_run(RUN_NAME)
    if state is None:
        report.checks.append(Check("api", "does not run; `skugraph up` serves"))
        return
    try:
        answer = httpx.get(f"{state['url']}/readyz", timeout=10)
    except httpx.TransportError as error:
        report.checks.append(Check("api", "down", state["url"]))
        report.faults.append(
            f"api: process {state['pid']} does not answer at {state['url']} ({error}): restart `skugraph up`"
        )
        return
    report.checks.append(Check("api", "ready" if answer.is_success else "not ready", state["url"]))
    if not answer.is_success:
        report.faults.append(f"api: {answer.json()['detail']}")
