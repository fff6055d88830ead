"""Jobs: long work as a state machine in the graph.

    queued → running → done | failed | cancelled
        ↘    ↕    ↘
         paused    cancelled

A message in the broker only says "look at this job". It may get lost with a killed worker, or come twice: whoever
takes it reads the job, does the next chunk, and moves the cursor by compare-and-set, so of two only one counts.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from encoders.graph.config import load_graph_config
from kg.errors import BadInput, JobError, NotFound
from kg.graph.clock import graph_time
from kg.graph.cypher.jobs import JOB, JOB_CREATE, JOB_MOVE, JOB_REQUEUE, JOBS, JOBS_OPEN
from kg.processes import alive
from kg.stores import Stores
from workers.app import broker_down, make_app

__all__ = [
    "GNN_CONFIG",
    "Job",
    "State",
    "cancel",
    "checkpoint_folder",
    "enqueue",
    "get_job",
    "gnn_target",
    "is_orphan",
    "list_jobs",
    "move",
    "now",
    "parse",
    "pause",
    "requeue",
    "resume",
    "submit",
    "submit_embed",
    "submit_gnn",
    "submit_relate",
    "wait",
]

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
OPEN: tuple[State, ...] = ("queued", "running", "paused")
ORPHAN_S = 60.0  # a job without a sign of life for so long has no worker
POLL_S = 0.2
GNN_CONFIG = "sage"  # the best on hidden edges: docs/graph-encoder.md
SEED = " seed "  # between config and seed in the target of a gnn job


@dataclass(frozen=True)
class Job:
    """One job as the graph has it.

    Attributes:
        kind: name of its task (`workers.app.TASKS`).
        target: what it is about: the checkpoint folder of an embed or reembed job, config and seed of a gnn job, the
            generation of others.
        options: what else was asked for, JSON; empty where that is all.
        order: what its promotion found when it was first tried (`workers.orders.order_of`), JSON; empty before.
        generation: id of the generation it fills, once its worker has read the checkpoint.
        stage: what its worker is at, in words; empty where the counts say it all.
        total: items found to do when it began, more where the catalogue changed meanwhile.
        rejected: items left out, each a line in the home's log/NAME.rejects.jsonl, NAME being the job's id.
        busy_s: seconds that workers were at it.
        estimated_s: what `busy_s` was estimated at before it began; 0 where nobody did.
        tries: how often a worker has taken it up since the last chunk of work, or since it was ordered or resumed.
        worker: host, pid and start time of the one at it.
        heartbeat: epoch seconds of its last sign of life, by the clock of the graph.
    """

    id: str
    kind: str
    state: State
    target: str = ""
    options: str = ""
    order: str = ""
    generation: str = ""
    stage: str = ""
    total: int = 0
    done: int = 0
    rejected: int = 0
    cursor: int = 0
    busy_s: float = 0.0
    estimated_s: float = 0.0
    tries: int = 0
    worker: str = ""
    heartbeat: float = 0.0
    error: str = ""
    created_at: str = ""
    started_at: str = ""
    finished_at: str = ""

    @property
    def rate(self) -> float:
        """Items a second, 0 before the first chunk."""
        return self.done / self.busy_s if self.busy_s else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds of work left at that rate, None where it is unknown."""
        return max(self.total - self.done, 0) / self.rate if self.rate else None

    @property
    def over(self) -> bool:
        return self.state not in OPEN

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"rate": round(self.rate, 3), "eta_s": self.eta_s, "options": self.asked}

    @property
    def asked(self) -> dict[str, Any]:
        """The options."""
        return json.loads(self.options) if self.options else {}


# what users do


def submit_embed(stores: Stores, encoder_path: str | Path) -> Job:
    """Embed what the checkpoint's generation lacks; an open job for the same checkpoint is taken up again instead.

    Raises:
        NotFound: no such folder.
        BadInput: the settings ask for regions, and the encoder has no detector.
        StoreDown: the graph or the broker does not answer.
    """
    return submit(stores, "embed", str(checkpoint_folder(stores, encoder_path)))


def submit_relate(stores: Stores) -> Job:
    """Compute the similarity edges between entities anew; an open job is taken up again instead.

    Raises:
        StoreDown: the graph or the broker does not answer.
    """
    return submit(stores, "relate", "entities")


def submit_gnn(stores: Stores, config: str | Path = GNN_CONFIG, *, seed: int = 0) -> Job:
    """Train a graph encoder on the entity graph and write the vectors that it gives the entities; an open job for the
    same is taken up again instead.

    Raises:
        NotFound: no such config.
        BadInput: a config that is refused.
        StoreDown: the graph or the broker does not answer.
    """
    load_graph_config(config)
    name = str(Path(config).expanduser().absolute()) if str(config).endswith(".json") else str(config)
    return submit(stores, "gnn", f"{name}{SEED}{seed}")


def submit(
    stores: Stores, kind: str, target: str, options: dict[str, Any] | None = None, *, estimated_s: float = 0.0
) -> Job:
    """A job of that kind, or the open one that does the same, taken up again.

    Raises:
        JobError: one for the same target is open with other options.
        StoreDown: the graph or the broker does not answer.
    """
    asked = json.dumps(options, sort_keys=True, ensure_ascii=False) if options else ""
    for row in stores.graph.read(JOBS_OPEN, kind=kind, target=target, states=list(OPEN)):
        job = parse(row["j"])
        if job.options != asked:
            raise JobError(
                f"job {job.id} for {target} is {job.state} with other options: {job.options or 'none'}",
                hint=f"wait for it, or `skugraph jobs {job.id} --cancel`",
            )
        if job.state == "paused":
            return resume(stores, job.id)
        if is_orphan(stores, job):
            requeue(stores, job)
        return get_job(stores, job.id)
    name = f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    values = {"kind": kind, "target": target, "options": asked, "estimated_s": estimated_s}
    [row] = stores.graph.write(JOB_CREATE, id=name, values=values, now=now(), beat=graph_time(stores.graph))
    job = parse(row["j"])
    enqueue(stores, job)
    return job


def checkpoint_folder(stores: Stores, encoder_path: str | Path) -> Path:
    """The absolute folder of a checkpoint that a worker could embed with.

    Raises:
        NotFound: no such folder.
        BadInput: the settings ask for regions, and the encoder has no detector.
    """
    folder = Path(encoder_path).expanduser().absolute()
    if not folder.is_dir():
        raise NotFound(f"no checkpoint folder {folder}", hint="`skugraph train` makes one")
    if (asked := stores.settings.embed_regions) and not _has_detector(folder):
        raise BadInput(
            f"embed_regions = {asked}, but the encoder in {folder} has no detector to find regions",
            hint="train one whose config names a detector, or set embed_regions to 0",
        )
    return folder


def gnn_target(target: str) -> tuple[str, int]:
    """Config and seed of a gnn job."""
    name, _, seed = target.rpartition(SEED)
    return name, int(seed)


def get_job(stores: Stores, job: str) -> Job:
    """One job.

    Raises:
        NotFound: no such id.
    """
    return _one(stores.graph.read(JOB, id=job), job)


def list_jobs(stores: Stores, *, limit: int = 50) -> list[Job]:
    """The latest jobs, newest first."""
    return [parse(row["j"]) for row in stores.graph.read(JOBS, limit=limit)]


def pause(stores: Stores, job: str) -> Job:
    """Stop after the chunk at hand.

    Raises:
        NotFound: no such id.
        JobError: it is not queued or running.
    """
    return _command(stores, job, ("queued", "running"), "paused")


def resume(stores: Stores, job: str) -> Job:
    """Go on with a paused, failed or cancelled job where it stopped.

    Raises:
        NotFound: no such id.
        JobError: it is running or done.
        StoreDown: the broker does not answer.
    """
    resumed = _command(stores, job, ("paused", "failed", "cancelled"), "queued")
    enqueue(stores, resumed)
    return resumed


def cancel(stores: Stores, job: str) -> Job:
    """Stop for good after the chunk at hand; what is done stays.

    Raises:
        NotFound: no such id.
        JobError: it is over already.
    """
    return _command(stores, job, OPEN, "cancelled")


def wait(
    stores: Stores, job: str, on_progress: Callable[[Job], None] | None = None, *, timeout_s: float | None = None
) -> Job:
    """The job once it is over or paused; `on_progress` is called with each state seen meanwhile.

    Raises:
        NotFound: no such id.
        JobError: it is not over after `timeout_s`.
    """
    end = time.monotonic() + timeout_s if timeout_s is not None else None
    while True:
        seen = get_job(stores, job)
        if on_progress:
            on_progress(seen)
        if seen.over or seen.state == "paused":
            return seen
        if end is not None and time.monotonic() > end:
            raise JobError(f"job {job} is {seen.state} at {seen.done} of {seen.total} after {timeout_s:g} s")
        time.sleep(POLL_S)


# how a job moves


def move(
    stores: Stores,
    job: str,
    before: Sequence[State],
    after: State,
    *,
    error: str = "",
    whole: bool = False,
    worker: str = "",
) -> Job | None:
    """Change of state, if the job is in one of the states `before`, and this worker at it where one is named; None
    otherwise. `whole`: its worker has come to the end of a step."""
    values = {"before": list(before), "after": after, "error": error, "whole": whole, "worker": worker}
    rows = stores.graph.write(JOB_MOVE, id=job, now=now(), beat=graph_time(stores.graph), **values)
    return parse(rows[0]["j"]) if rows else None


def enqueue(stores: Stores, job: Job) -> None:
    """Send the message that makes a worker look at the job.

    Raises:
        StoreDown: the broker does not answer.
    """
    app = make_app(stores.settings)
    with broker_down(app):
        app.send_task(job.kind, args=[job.id], retry=False)


def is_orphan(stores: Stores, job: Job) -> bool:
    """Whether nobody works on it: its worker ran on this machine and is gone, or nothing was heard of it for long."""
    host, _, process = job.worker.partition(" ")
    if job.state == "running" and host == socket.gethostname():
        pid, _, started = process.partition(" ")
        if not alive(int(pid), started):
            return True
    return graph_time(stores.graph) - job.heartbeat > ORPHAN_S


def requeue(stores: Stores, job: Job) -> None:
    """Send an orphan's message again; it then has time to be taken up before it counts as an orphan once more."""
    values = {"seen": job.heartbeat, "now": now(), "beat": graph_time(stores.graph)}
    if stores.graph.write(JOB_REQUEUE, id=job.id, **values):
        enqueue(stores, job)


def parse(row: dict[str, Any]) -> Job:
    """A job from its properties in the graph."""
    return Job(**{name: row[name] for name in Job.__dataclass_fields__ if row.get(name) is not None})


def now() -> str:
    """The time as jobs write it down: ISO, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _has_detector(folder: Path) -> bool:
    """What the checkpoint says of itself: opening it would load torch, which who submits may not have."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # the worker opens the checkpoint, and says what is wrong with it
    return not isinstance(config, dict) or bool(config.get("detector"))


def _command(stores: Stores, job: str, before: Sequence[State], after: State) -> Job:
    if (moved := move(stores, job, before, after)) is not None:
        return moved
    state = get_job(stores, job).state
    raise JobError(f"job {job} is {state}; to become {after} it must be {' or '.join(before)}")


def _one(rows: list[dict[str, Any]], job: str) -> Job:
    if not rows:
        raise NotFound(f"no job {job!r}", hint="`skugraph jobs` lists them")
    return parse(rows[0]["j"])
