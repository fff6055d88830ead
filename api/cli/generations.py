"""Which vectors searches use: generations, reembed, promote, rollback, retire."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, say, table
from api.cli.jobs import WaitOption, finish, line, run_job

if TYPE_CHECKING:
    from kg.stores import Stores
    from kg.vectors.generations import Generation
    from workers.orders import Judged

__all__ = ["generations", "promote", "reembed", "retire", "rollback"]

generations = typer.Typer(help="The vectors of each encoder: which are live, what else there is, how they differ.")

GenerationArgument = Annotated[str, typer.Argument(metavar="ID", help="As `skugraph generations` shows it")]
QueriesOption = Annotated[
    Path | None, typer.Option("--queries", metavar="FILE", help="Measure with these: JSON lines, or id<TAB>text")
]
QrelsOption = Annotated[Path | None, typer.Option("--qrels", metavar="FILE", help="TREC qrels of these queries")]
GatesOption = Annotated[
    Path | None, typer.Option("--gates", metavar="FILE", help="Instead of the setting generation_gates")
]
UseOption = Annotated[str, typer.Option("--use", help="Ask with the text or the image of the queries, or both")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit trail")]


def me() -> str:
    """Who asks, for the audit trail."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container without a name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@generations.callback(invoke_without_command=True)
def default(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The vectors of each encoder: which are live, what else there is, how they differ.

    Example: `skugraph generations`, `skugraph generations show g0123456789`
    """
    if context.invoked_subcommand is None:
        listing(home, as_json)


@generations.command("list")
def listing(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every generation: state, dimension, kinds, and how many changes it lacks; oldest first."""
    from kg.stores import open_stores
    from kg.vectors import generations as chain

    with open_stores(open_settings(home, filled=True)) as stores:
        found = [generation.json() | {"stale": chain.stale(stores, generation)} for generation in chain.listing(stores)]
    for row in found:
        row["passed"] = row["evaluation"]["passed"] if row["evaluation"] else None
    names = ("id", "state", "encoder", "dim", "kinds", "stale", "passed", "created_at")
    rows = [tuple(", ".join(row[n]) if n == "kinds" else row[n] for n in names) for row in found]
    emit(found, as_json, lambda: table(names, rows))


@generations.command("show")
def show(id: GenerationArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """One generation: what its last evaluation found, and what was done to it by whom."""
    from kg.stores import open_stores
    from kg.vectors import generations as chain
    from kg.vectors.events import events

    with open_stores(open_settings(home, filled=True)) as stores:
        found = chain.get(stores, id)
        trail = events(stores, id)
        counts = {kind: stores.vectors.count(name) for kind, name in _there(stores, found).items()}
        stale = chain.stale(stores, found)
    document = found.json() | {"stale": stale, "vectors": counts, "events": [event.json() for event in trail]}

    def page() -> None:
        for name in ("id", "state", "encoder", "fingerprint", "encoder_path", "dim", "created_at", "live_since"):
            say(f"{name}: {document[name]}")
        say(f"vectors: {', '.join(f'{count:,} {kind}' for kind, count in counts.items()) or 'none'}; {stale:,} stale")
        if found.previous:
            say(f"a rollback goes back to {found.previous}")
        _evaluation(document["evaluation"])
        rows = [(e.at, e.action, e.other, e.by, "forced" if e.forced else "", e.reason) for e in trail]
        if rows:
            table(("when", "what", "other", "by", "", "why"), rows)

    emit(document, as_json, page)


def _there(stores: Stores, generation: Generation) -> dict[str, str]:
    from kg.vectors.switching import missing_collections

    missing = set(missing_collections(stores, generation))
    names = generation.collections(stores.vectors.prefix)
    return {kind: name for kind, name in names.items() if name not in missing}


def _evaluation(found: dict[str, Any] | None) -> None:
    if not found:
        say("never evaluated")
        return
    verdict = {True: "passed", False: "not passed", None: "no gates"}[found["passed"]]
    say(f"evaluated {found['at']} against {found['against']} on {found['queries']} queries: {verdict}")
    both = found["metrics"]
    table(("metric", "live", "this"), [(name, both["live"][name], both["shadow"][name]) for name in both["live"]])
    rows = [
        (one["scope"], one["group"], one["metric"], one["queries"], one["live"], one["shadow"], one["least"])
        for one in found["failed"]
    ]
    if rows:
        say(f"{found['failed_count']} of {found['outcomes']} gates are shut:", style="red")
        table(("scope", "group", "metric", "queries", "live", "this", "least"), rows)


@generations.command("evaluate")
def evaluate(
    id: GenerationArgument,
    queries: QueriesOption = None,
    qrels: QrelsOption = None,
    gates: GatesOption = None,
    use: UseOption = "both",
    k: Annotated[int, typer.Option("-k", min=1, help="Products found for each query")] = 100,
    wait: WaitOption = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a generation in the shadow against the live one, overall, in each category and for each brand, and hold
    it against the gates; in the worker. What is found is kept on the generation.

    Example: `skugraph generations evaluate g0123456789 --queries queries.jsonl --qrels qrels.txt --gates gates.json`
    """
    from kg.stores import open_stores
    from kg.vectors import generations as chain
    from workers.orders import submit_evaluate

    judged = _judged(queries, qrels, gates, use, k)
    if judged is None:
        from kg.errors import BadInput

        raise BadInput("--queries and --qrels: an evaluation needs both")
    with open_stores(open_settings(home, filled=True)) as stores:
        job = submit_evaluate(stores, id, judged)
        if not wait:
            finish(stores, job, wait=False, as_json=as_json)
            return
        run_job(stores, job, quiet=as_json)
        found = chain.get(stores, id).json()["evaluation"]
    emit(found, as_json, lambda: _evaluation(found))
    if found["passed"] is False:
        raise typer.Exit(1)


def _judged(queries: Path | None, qrels: Path | None, gates: Path | None, use: str, k: int) -> Judged | None:
    from kg.errors import BadInput
    from workers.orders import Judged, Use

    if queries is None and qrels is None:
        if gates is not None:
            raise BadInput(f"--gates {gates}: nothing is measured without --queries and --qrels")
        return None
    if queries is None or qrels is None:
        given = f"--queries {queries}" if queries else f"--qrels {qrels}"
        raise BadInput(f"{given}: give --queries and --qrels together")
    return Judged(str(queries), str(qrels), str(gates or ""), cast("Use", use), k)


@generations.command("diff")
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Id of a generation")],
    b: Annotated[str, typer.Argument(metavar="B", help="Id of the other")],
    queries: Annotated[Path, typer.Option("--queries", metavar="FILE", help="JSON lines, or id<TAB>text")],
    use: UseOption = "both",
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Products of each list")] = 10,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The same queries on two generations: how much of the lists is the same, and which results are not.

    The web page shows the same with pictures side by side: `/#diff/A/B`.

    Example: `skugraph generations diff g0123456789 gabcdef0123 --queries queries.jsonl -k 10`
    """
    from api.diff import diff as compare
    from encoders.evaluation import trec
    from kg.stores import open_stores
    from workers.orders import Use

    asked = trec.read_queries(queries)
    with open_stores(open_settings(home, filled=True)) as stores:
        found = compare(stores, a, b, asked, k=k, use=cast("Use", use))

    def page() -> None:
        say(f"{len(found.queries)} queries: overlap {found.overlap:.3f}, the same first {found.same_first:.3f}")
        rows = []
        for one in found.queries[:50]:
            gone = [hit.hit.product.id for hit in one.a if hit.other is None]
            new = [hit.hit.product.id for hit in one.b if hit.other is None]
            rows.append((one.id, one.overlap, one.moved, ", ".join(gone[:3]), ", ".join(new[:3])))
        table(("query", "overlap", "moved", f"only {a}", f"only {b}"), rows)

    emit(found.model_dump(mode="json"), as_json, page)


def reembed(
    encoder: Annotated[Path, typer.Option("--encoder", metavar="DIR", help="Checkpoint folder of the other encoder")],
    queries: QueriesOption = None,
    qrels: QrelsOption = None,
    gates: GatesOption = None,
    use: UseOption = "both",
    promote: Annotated[bool, typer.Option("--promote", help="Promote it at the end, if its gates let it pass")] = False,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", min=0, help="Refuse what would take longer")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option("--max-bytes", min=0, help="Refuse what needs more room")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only estimate")] = False,
    wait: WaitOption = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed the catalogue with another encoder while the present one goes on serving.

    What it will take is estimated first, from a sample, and refused above a budget. Then a job builds a generation in
    the shadow of the live one; what changes meanwhile is written to both. With queries and judgements it is measured
    against the live one, and with --promote it takes its place if its gates let it pass. The exit status is 1 unless
    the job that was waited for is done: failed, cancelled and paused ones are not.

    Example: `skugraph reembed --encoder models/new --queries queries.jsonl --qrels qrels.txt --promote`
    """
    from kg.errors import BadInput
    from kg.stores import open_stores
    from workers.estimate import check_budget
    from workers.estimate import estimate as foresee
    from workers.orders import checked, submit_reembed

    judged = _judged(queries, qrels, gates, use, 100)
    settings = open_settings(home, filled=True)
    if promote and judged is None and settings.generation_gates is not None:
        raise BadInput(
            f"--promote: gates are set ({settings.generation_gates}), and nothing is measured",
            hint="give --queries and --qrels",
        )
    judged = checked(judged) if judged else None
    with open_stores(settings) as stores:
        found = foresee(stores, encoder)
        if not as_json:
            say(
                f"{found.generation} ({found.state}): {found.products:,} products, {found.vectors:,} vectors of "
                f"{found.dim} dimensions, about {found.seconds:,.0f} s and {found.bytes / 1e6:,.1f} MB "
                f"({found.rate:,.1f} products a second by {found.measured})"
            )
        seconds = settings.reembed_max_seconds if max_seconds is None else max_seconds
        check_budget(found, seconds=seconds, bytes=settings.reembed_max_bytes if max_bytes is None else max_bytes)
        if dry_run:
            emit({"estimate": found.model_dump(), "job": None}, as_json, lambda: say("nothing was begun"))
            return
        job = submit_reembed(stores, encoder, judged=judged, promote=promote, by=me(), estimated_s=found.seconds)
        if wait:
            job = run_job(stores, job, quiet=as_json)
        emit({"estimate": found.model_dump(), "job": job.json()}, as_json, lambda: say(line(job)))


def promote(
    id: GenerationArgument,
    force: Annotated[bool, typer.Option("--force", help="Also below its gates; takes a reason")] = False,
    reason: ReasonOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let searches use a generation from now on: one atomic flip, nothing is embedded anew.

    Where gates are set (setting `generation_gates`), it must have been evaluated against the live one and have passed.

    Example: `skugraph promote g0123456789`
    """
    from kg.stores import open_stores
    from kg.vectors import switching
    from workers.following import follow_others

    with open_stores(open_settings(home, filled=True)) as stores:
        promoted = switching.promote(stores, id, by=me(), reason=reason, force=force)
        follow_others(stores)
    emit(promoted.json(), as_json, lambda: say(f"{promoted.id} is live"))


def rollback(reason: ReasonOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let searches use the generation that was live before: one atomic flip, one step.

    Refused where that one is gone, or lacks more changes than it may.

    Example: `skugraph rollback --reason "brands are mixed up"`
    """
    from kg.stores import open_stores
    from kg.vectors import generations as chain
    from kg.vectors import switching
    from workers.following import follow_others

    with open_stores(open_settings(home, filled=True)) as stores:
        now = switching.rollback(stores, by=me(), reason=reason)
        stale = chain.stale(stores, now)
        follow_others(stores)

    def page() -> None:
        say(f"{now.id} is live again")
        if stale:
            say(f"it lacks {stale:,} changes: a job for them is queued; searches obey the graph meanwhile")

    emit(now.json() | {"stale": stale}, as_json, page)


def retire(
    id: GenerationArgument,
    force: Annotated[bool, typer.Option("--force", help="Also the one that a rollback goes back to")] = False,
    reason: ReasonOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop the vectors of a generation that is not wanted any more; never those of the live one.

    Example: `skugraph retire g0123456789`
    """
    from kg.stores import open_stores
    from kg.vectors import switching

    with open_stores(open_settings(home, filled=True)) as stores:
        retired = switching.retire(stores, id, by=me(), reason=reason, force=force)
    emit(retired.json(), as_json, lambda: say(f"{retired.id} is retired: its collections are dropped"))
