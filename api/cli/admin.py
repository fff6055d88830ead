"""Looking after an installation: doctor, migrate, keys."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, say, table

__all__ = ["doctor", "keys", "migrate"]

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
