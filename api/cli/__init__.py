"""The command `skugraph`. Commands import what they work with when they run, so that `--help` answers at once."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from api.cli import (
    admin,
    calibrate,
    catalogue,
    confounding,
    demo,
    generations,
    instances,
    jobs,
    models,
    offers,
    recommend,
    rules,
    scale,
    search,
    serve,
)
from api.cli.common import fail
from kg.errors import SkugraphError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"skugraph {version('skugraph')}")
        raise typer.Exit


@app.callback()
def skugraph(
    show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    """Graph-first knowledge and instance-level retrieval for product catalogues."""


app.command()(demo.demo)
app.command()(serve.up)
app.command()(catalogue.ingest)
app.command()(scale.scale)
app.command()(models.train)
app.command()(jobs.embed)
app.command()(jobs.relate)
app.command()(jobs.gnn)
app.command()(confounding.confounding)
app.command()(search.search)
app.command()(instances.instances)
app.command()(recommend.recommend)
app.command()(offers.offers)
app.command()(offers.calibrate_offers)
app.add_typer(rules.rules, name="rules")
app.command()(calibrate.calibrate)
app.command()(search.cypher)
app.command("eval")(models.evaluate)
app.command()(jobs.jobs)
app.add_typer(generations.generations, name="generations")
app.command()(generations.reembed)
app.command()(generations.promote)
app.command()(generations.rollback)
app.command()(generations.retire)
app.command()(admin.doctor)
app.command()(admin.audit)
app.command()(admin.migrate)
app.add_typer(admin.keys, name="keys")


def main() -> None:
    """Entry point: 0 done, 1 failed, 2 bad input; an error is one line and a hint, never a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: everything is closed in order
    try:
        app()
    except SkugraphError as error:
        sys.exit(fail(error, as_json="--json" in sys.argv))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("SKUGRAPH_LOG_LEVEL") == "DEBUG":
            raise
        hint = "this is a bug; SKUGRAPH_LOG_LEVEL=DEBUG shows where"
        bug = SkugraphError(f"{type(error).__name__}: {error}", hint=hint)
        sys.exit(fail(bug, as_json="--json" in sys.argv))
