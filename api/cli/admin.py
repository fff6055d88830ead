"""Looking after an installation: doctor, audit, migrate, keys."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say, table

__all__ = ["audit", "doctor", "keys", "migrate"]

keys = typer.Typer(no_args_is_help=True, help="API keys: who may ask the REST API for what.")


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What runs where, in which version, with what in it; and for each fault one line that says what to do.

    Exit status 1 when there is a fault. Starts nothing.
    """
    from api.doctor import examine

    report = examine(open_settings(home))

    def page() -> None:
        table(("part", "state", "where", "version", "holds"), [check.row() for check in report.checks])
        for fault in report.faults:
            say(f"fault: {fault}", style="red")
        if not report.faults:
            say("all is well", style="green")

    emit(report.document(), as_json, page)
    if report.faults:
        raise typer.Exit(1)


def audit(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until what lacks vectors is embedded")] = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do graph and vectors agree? Looks at every product and every vector, both ways, also while searches and workers
    run, and says what is wrong; with --repair it mends that.

    Exit status 1 when something is wrong and not mended.

    Example: `skugraph audit`, then `skugraph audit --repair`
    """
    from api.cli.jobs import run_job
    from kg.audit import audit as examine
    from kg.stores import open_stores
    from workers.orders import submit_follow

    with open_stores(open_settings(home, filled=True)) as stores:
        with progress(quiet=as_json) as update:
            report = examine(stores, repair=repair, on_progress=update)
        for job in [submit_follow(stores, generation) for generation in report.refill]:
            if wait:
                run_job(stores, job, quiet=as_json)

    def page() -> None:
        say(f"{report.checked:,} products and vectors looked at, {report.unreadable:,} pictures cannot be read")
        for generation, changes in report.behind.items():
            if changes:
                say(f"generation {generation} has {changes:,} changes yet to embed, which is no fault")
        rows = [(f.kind, f.generation, f.what, f.why, "mended" if f.repaired else "") for f in report.first]
        if rows:
            table(("fault", "generation", "what", "why", ""), rows)
        for kind, count in report.faults.items():
            say(f"{count:,} {kind}, {report.repaired[kind]:,} of them mended", style="red")
        if not report.faults.total():
            say("graph and vectors agree", style="green")
        elif not repair:
            say("`skugraph audit --repair` mends what can be mended")

    emit(report.json(), as_json, page)
    if report.open:
        raise typer.Exit(1)


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be done")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the latest step back, such as before an older version is installed")
    ] = False,
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", help="With --undo: take back every step after version N")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the schema of both stores up to date, or take steps of it back. Of several runners one does it.

    An embedded home is brought up to date by every command that opens it, so undo there as the last one before an older
    version is installed; a server is only changed by this command.

    Example: `SKUGRAPH_GRAPH_URI=bolt://db:7687 skugraph migrate --dry-run`, `skugraph migrate --undo --to 1`
    """
    from kg import migrate as chain
    from kg.errors import BadInput
    from kg.stores import open_stores

    if to is not None and not undo:
        raise BadInput(f"--to {to}: only with --undo", hint="without it every step is applied")
    with open_stores(open_settings(home), checked=False) as stores:
        if undo:
            steps = chain.undo(stores.graph, to=to, dry_run=dry_run, vectors=lambda: stores.vectors)
        else:
            steps = chain.migrate(stores.graph, dry_run=dry_run, vectors=lambda: stores.vectors)
        done = sorted(chain.applied(stores.graph))
        document = {
            "dry_run": dry_run,
            "undo": undo,
            "steps": [{"version": step.version, "name": step.name, "checksum": step.checksum} for step in steps],
            "applied": done,
        }
    did = ("would undo" if dry_run else "undid") if undo else ("would apply" if dry_run else "applied")

    def page() -> None:
        for step in steps:
            say(f"{did} V{step.version:03d} {step.name}")
        if not steps:
            say(f"nothing to do: the schema is at V{max(done, default=0):03d}")

    emit(document, as_json, page)


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Who or what will use it")],
    scope: Annotated[
        str, typer.Option("--scope", help="read, ingest (also starts jobs) or admin (also promotes)")
    ] = "read",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it: the only time it can be seen.

    Example: `skugraph keys add shop --scope read`
    """
    from api.auth import Keys

    token = Keys.of(open_settings(home)).add(name, scope)
    emit({"name": name, "scope": scope, "key": token}, as_json, lambda: say(token))


@keys.command("list")
def listing(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Name, scope and age of every key."""
    from api.auth import Keys

    records = Keys.of(open_settings(home)).records()
    document = [record.model_dump(mode="json", include={"name", "scope", "created_at"}) for record in records]
    emit(document, as_json, lambda: table(("name", "scope", "created"), [tuple(row.values()) for row in document]))


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="As given to `keys add`")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a key; a running server refuses it from the next request on."""
    from api.auth import Keys

    Keys.of(open_settings(home)).revoke(name)
    emit({"revoked": name}, as_json, lambda: say(f"revoked {name}"))
