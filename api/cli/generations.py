"""Which vectors searches use: generations, promote, rollback, retire."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated, Any

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, say, table

__all__ = ["generations", "promote", "retire", "rollback"]

generations = typer.Typer(help="The vectors of each encoder: which are live, what else there is, how they differ.")

GenerationArgument = Annotated[str, typer.Argument(metavar="ID", help="As `skugraph generations` shows it")]
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


def _there(stores: Any, generation: Any) -> dict[str, str]:
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

    with open_stores(open_settings(home, filled=True)) as stores:
        promoted = switching.promote(stores, id, by=me(), reason=reason, force=force)
    emit(promoted.json(), as_json, lambda: say(f"{promoted.id} is live"))


def rollback(reason: ReasonOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let searches use the generation that was live before: one atomic flip, one step.

    Refused where that one is gone, or lacks more changes than it may.

    Example: `skugraph rollback --reason "brands are mixed up"`
    """
    from kg.stores import open_stores
    from kg.vectors import generations as chain
    from kg.vectors import switching

    with open_stores(open_settings(home, filled=True)) as stores:
        now = switching.rollback(stores, by=me(), reason=reason)
        stale = chain.stale(stores, now)

    def page() -> None:
        say(f"{now.id} is live again")
        if stale:
            say(f"it lacks {stale:,} changes: `skugraph embed` catches up; searches obey the graph meanwhile")

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
