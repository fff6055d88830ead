"""Work of the workers: embed, relate, gnn, jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say, table

if TYPE_CHECKING:
    from kg.stores import Stores
    from workers.jobs import Job

__all__ = ["embed", "finish", "followed", "gnn", "jobs", "line", "relate", "run_job"]

WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its end, or only put it in the queue")]


def run_job(stores: Stores, job: Job, *, quiet: bool = False) -> Job:
    """Wait for the end of a job with a progress bar; a worker is started for the time where none runs. What comes back
    is done: whoever ordered the job may go on with what it made.

    Raises:
        JobError: it failed, was cancelled, or is paused.
    """
    from kg.errors import JobError
    from workers.jobs import wait

    with _worker_at_hand(stores), progress(quiet=quiet) as update:
        ended = wait(stores, job.id, lambda seen: update(seen.kind, seen.done, seen.total or None))
    if ended.state == "done":
        return ended
    at = f"at {ended.done:,} of {ended.total:,}"
    said = {"failed": f"failed: {ended.error}", "cancelled": f"was cancelled {at}", "paused": f"is paused {at}"}
    raise JobError(f"job {ended.id} {said[ended.state]}", hint=f"`skugraph jobs {ended.id} --resume` goes on with it")


def followed(stores: Stores, job: Job, *, quiet: bool = False) -> Job:
    """As `run_job`, for one that lets a generation follow. If that was retired meanwhile nothing is left to be done.

    Raises:
        JobError: as `run_job`.
    """
    from kg.errors import JobError
    from kg.vectors import generations
    from workers.jobs import get_job

    try:
        return run_job(stores, job, quiet=quiet)
    except JobError:
        ended = get_job(stores, job.id)
        if ended.state == "cancelled" and generations.get(stores, ended.target).state == "retired":
            return ended
        raise


@contextmanager
def _worker_at_hand(stores: Stores) -> Iterator[None]:
    from kg.processes import stop
    from workers.process import start_worker, workers_alive

    if workers_alive(stores.settings, stores.graph):
        yield
        return
    process = start_worker(stores.settings)
    try:
        yield
    finally:
        stop(process)


def finish(stores: Stores, job: Job, *, wait: bool, as_json: bool) -> None:
    """Print the job, at its end if that is waited for."""
    if wait:
        job = run_job(stores, job, quiet=as_json)
    emit(job.json(), as_json, lambda: say(line(job)))


def line(job: Job) -> str:
    """A job in a line: state, counts, pace, and at its end what it took beside what was estimated."""
    parts = [f"{job.id}: {job.state}", f"{job.done:,} of {job.total:,}"]
    if job.stage and not job.over:
        parts.append(job.stage)
    if job.rejected:
        parts.append(f"{job.rejected:,} rejected")
    if job.rate:
        parts.append(f"{job.rate:.1f}/s")
    if job.over and job.estimated_s:
        parts.append(f"{job.busy_s:,.1f} s of work, estimated {job.estimated_s:,.1f} s")
    if job.eta_s and not job.over:
        parts.append(f"{job.eta_s:.0f} s left")
    return ", ".join([*parts, job.error] if job.error else parts)


def embed(
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", metavar="DIR", help="Checkpoint folder; without it all generations that are kept"),
    ] = None,
    wait: WaitOption = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed what changed since this encoder's generation last did, in the worker; the first generation goes live.

    Without an encoder every generation that is kept catches up: the live one first, then those in its shadow. Stopped
    or killed, it goes on where it was: run it again.

    Example: `skugraph embed --encoder models/clip`, after an ingest `skugraph embed`
    """
    from kg.errors import BadInput
    from kg.stores import open_stores
    from kg.vectors import generations
    from workers.following import behind
    from workers.jobs import submit_embed
    from workers.orders import submit_follow

    with open_stores(open_settings(home, filled=True)) as stores:
        if encoder is not None:
            finish(stores, submit_embed(stores, encoder), wait=wait, as_json=as_json)
            return
        if generations.live(stores) is None:
            raise BadInput("no generation is live yet", hint="`skugraph embed --encoder DIR` makes the first")
        found = [submit_follow(stores, generation.id) for generation in behind(stores)]
        ended = [followed(stores, job, quiet=as_json) for job in found] if wait else found

    def page() -> None:
        for job in ended:
            say(f"{job.target}: {line(job)}")
        if not ended:
            say("every generation knows every change")

    emit([job.json() for job in ended], as_json, page)


def relate(wait: WaitOption = True, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Link entities (SIMILAR_TO) whose texts mean nearly the same, that the same products name, or whose products look
    alike by the live encoder; the setting `similarity_sources` says which of these.

    Only edges that change are written: after an ingest, or when another encoder has gone live, run it again.

    Example: `skugraph relate --json` shows how many edges each source has.
    """
    from kg.graph.edges import counts
    from kg.stores import open_stores
    from workers.jobs import submit_relate

    with open_stores(open_settings(home, filled=True)) as stores:
        job = submit_relate(stores)
        if wait:
            job = run_job(stores, job, quiet=as_json)
        edges = counts(stores.graph)
    said = ", ".join(f"{number:,} by {source}" for source, number in edges.items())
    emit(job.json() | {"edges": edges}, as_json, lambda: say(f"{line(job)}; edges: {said}"))


def gnn(
    config: Annotated[
        str, typer.Option("--config", metavar="NAME", help="gcn, sage, gat, or the path of a .json file")
    ] = "sage",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is random")] = 0,
    wait: WaitOption = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a graph neural network on the entities and the edges that `relate` wrote, and keep its vector of each
    entity: free text then finds entities by what they mean and by what they stand close to.

    It says how well the vectors tell edges that the training did not see from pairs that are none, beside the vectors
    of the texts alone. Where nothing changed since, nothing is done.

    Example: `skugraph relate && skugraph gnn --config gat`
    """
    from kg.entity_vectors import live
    from kg.stores import open_stores
    from workers.jobs import submit_gnn

    with open_stores(open_settings(home, filled=True)) as stores:
        job = submit_gnn(stores, config, seed=seed)
        if not wait:
            emit(job.json(), as_json, lambda: say(line(job)))
            return
        ended = run_job(stores, job, quiet=as_json)
        found = live(stores)
        ours = found is not None and found.fingerprint[:10] == ended.generation
        metrics = _graph_metrics(Path(found.encoder_path)) if found and ours else {}

    def page() -> None:
        say(line(ended))
        rows = [(name, values.get("auc"), values.get("mrr")) for name, values in metrics.items()]
        table(("edges that were hidden", "AUC", "MRR"), rows)

    emit(ended.json() | {"metrics": metrics}, as_json, page)


def _graph_metrics(folder: Path) -> dict[str, dict[str, float]]:
    """What the training has found out; nothing where the worker's folder is not on this machine."""
    import json

    try:
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def jobs(
    id: Annotated[str | None, typer.Argument(help="One job; without it the latest")] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Stop it after the chunk at hand")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with it")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it for good")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Jobs with their state, progress, rate and remaining time; or command one.

    Example: `skugraph jobs embed-20260101-120000-1a2b3c --pause`
    """
    from kg.errors import BadInput
    from kg.stores import open_stores
    from workers import jobs as work

    commands = [run for wanted, run in ((pause, work.pause), (resume, work.resume), (cancel, work.cancel)) if wanted]
    if len(commands) > 1 or (commands and id is None):
        raise BadInput("--pause, --resume and --cancel: give one of them, with the id of a job")
    with open_stores(open_settings(home, filled=True)) as stores:
        if id is not None:
            job = commands[0](stores, id) if commands else work.get_job(stores, id)
            emit(job.json(), as_json, lambda: say(line(job)))
            return
        found = work.list_jobs(stores)
    rows: list[tuple[Any, ...]] = [(j.id, j.state, j.done, j.total, round(j.rate, 1), j.error) for j in found]
    head = ("job", "state", "done", "total", "a second", "error")
    emit([job.json() for job in found], as_json, lambda: table(head, rows))
