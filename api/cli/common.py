"""What every command shares: its options, one JSON document or a readable page, one line for an error, progress."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from kg.errors import BadInput, BadSetting, SkugraphError
from kg.settings import Settings, load_settings

__all__ = ["HomeOption", "JsonOption", "emit", "fail", "open_settings", "progress", "say", "table"]

HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Home folder (default ~/.skugraph, or SKUGRAPH_HOME)")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, logs on stderr")]


def open_settings(home: Path | None, *, filled: bool = False, **overrides: Any) -> Settings:
    """The settings of this call; logs go to stderr at their level.

    Args:
        home: folder, None for the default.
        filled: the command needs what an ingest has left there: a mistyped home is not made in silence.
        overrides: settings given as options.

    Raises:
        BadSetting: see `load_settings`; with `filled` also a home that does not exist.
    """
    settings = load_settings(home=home, **overrides)
    if filled and settings.graph_uri is None and not settings.home.is_dir():
        raise BadSetting(f"there is no home {settings.home}", hint="`skugraph demo` or `skugraph ingest` makes one")
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    # These tell of every lost connection and every hint of a server; what matters comes as an error.
    for chatty in ("neo4j", "kombu"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return settings


def emit(document: Any, as_json: bool, page: Callable[[], None]) -> None:
    """Print the one JSON document, or let `page` print for people."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=1, default=str), flush=True)
    else:
        page()


def say(text: str = "", *, style: str = "") -> None:
    """A line for people, on stdout; `text` is not markup."""
    from rich.console import Console  # rich is needed by commands that print, not by --help

    Console(highlight=False, soft_wrap=True).print(text, style=style, markup=False)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A plain table for people; columns of numbers are right-aligned, and piped output is not cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    page = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(head):
        numbers = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        page.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        page.add_row(*("" if cell is None else _plain(cell) for cell in row))
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=max(console.width, 200))
    console.print(page)


def _plain(cell: object) -> str:
    from rich.markup import escape

    return escape(f"{cell:,.4g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell))


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr with the remaining time; the value takes (what, done, total or None)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def fail(error: SkugraphError, *, as_json: bool) -> int:
    """Say what went wrong, and return the exit status: 2 where the caller can mend the input, else 1."""
    if as_json:
        document = {"error": {"code": error.code, "message": error.message, "hint": error.hint, **error.detail}}
        print(json.dumps(document, ensure_ascii=False, default=str))
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return 2 if isinstance(error, BadInput) else 1
