"""Writes the reference pages from the code: `python docs/build.py`. tests/test_docs.py fails where one lags behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main
from prometheus_client import REGISTRY

from api.app import create_app
from api.cli import app as cli
from kg import errors
from kg.settings import Settings, load_settings
from workers.app import make_app
from workers.metrics import serve as _worker_metrics  # noqa: F401  # registers what a worker counts

REFERENCE = Path(__file__).parent / "reference"
HIDDEN = {"help", "install_completion", "show_completion", "home", "as_json", "json"}


def page(title: str, intro: str, *sections: str) -> str:
    return "\n\n".join([f"# {title}", intro, *sections]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars in a cell are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


def settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        shown = getattr(field.default, "get_secret_value", lambda value=field.default: value)()
        rows.append((f"`{name}`", "" if shown in (None, "") else f"`{shown}`", field.description))
    intro = """Arguments win over the environment (`SKUGRAPH_NAME`), which wins over `skugraph.toml` in the home folder
(`name = value`), which wins over the default. An unknown name in the file and a value out of range are refused; an
unknown name in the environment is not looked at."""
    return page("Settings", intro, table(("name", "default", "what it is"), rows))


def commands() -> str:
    sections = []
    for path, command in walk(typer.main.get_command(cli)):
        rows = [(f"`{', '.join(names(param))}`", param.help or "") for param in command.params if shown(param)]
        section = f"## skugraph {' '.join(path)}\n\n{first_paragraph(command.help)}"
        sections.append(section + ("\n\n" + table(("argument", "what it is"), rows) if rows else ""))
    intro = """Every command takes `--home DIR` and `--json` (one document on stdout, logs on stderr) and ends with
0 done, 1 failed, 2 bad input. `skugraph COMMAND --help` has an example of each."""
    return page("Command line", intro, *sections)


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Leaves of the command tree, each with the words that lead to it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in sorted(command.commands.items()):
        yield from walk(child, (*path, name))


def shown(param: Any) -> bool:
    return param.name not in HIDDEN


def names(param: Any) -> list[str]:
    is_option = param.param_type_name == "option"
    return [*param.opts, *param.secondary_opts] if is_option else [str(param.metavar or param.name).upper()]


def routes() -> str:
    with tempfile.TemporaryDirectory() as home:
        paths = create_app(load_settings(home=home)).openapi()["paths"]
    rows = [
        (f"`{method.upper()} {path}`", first_paragraph(what.get("description")) or what["summary"])
        for path, methods in sorted(paths.items())
        for method, what in sorted(methods.items())
    ]
    kinds = [
        kind
        for _, kind in sorted(vars(errors).items())
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]
    codes = [(f"`{kind.code}`", f"`{kind.__name__}`") for kind in kinds if issubclass(kind, errors.SkugraphError)]
    return page(
        "REST",
        "`/docs` of a running server has the schemas, with examples to try.",
        table(("route", "what it does"), rows),
        "## Errors",
        "RFC 9457 `application/problem+json`; its `type` ends in one of these codes. `kg/errors.py` draws the tree.",
        table(("code", "error"), codes),
    )


def tasks() -> str:
    with tempfile.TemporaryDirectory() as home:
        celery = make_app(load_settings(home=home))
        celery.loader.import_default_modules()
        found = {name: task for name, task in sorted(celery.tasks.items()) if not name.startswith("celery.")}
        queues = {name: celery.amqp.router.route({}, name)["queue"].name for name in found}
    rows = [(f"`{name}`", f"`{queues[name]}`", first_paragraph(task.__doc__)) for name, task in found.items()]
    intro = """Celery tasks and their queues. Each is acknowledged late and may be delivered twice: the job in
the graph is the truth, the message only says "look at this job"."""
    return page("Tasks", intro, table(("task", "queue", "what it does"), rows))


def metrics() -> str:
    found = sorted((m.name, m.type, m.documentation) for m in REGISTRY.collect() if m.name.startswith("skugraph"))
    rows = [(f"`{name}`", kind, text) for name, kind, text in found]
    worker = [row for row in rows if row[0].startswith("`skugraph_worker_")]
    head = ("metric", "type", "what it counts")
    return page(
        "Metrics",
        "In the text format of Prometheus. [Watching it](../how-to/watching.md) says what to make of them.",
        "## The API: `GET /metrics`",
        table(head, [row for row in rows if row not in worker]),
        "## A worker: the port of the setting `worker_metrics_port`",
        table(head, worker),
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "cli": commands,
    "rest": routes,
    "tasks": tasks,
    "metrics": metrics,
}


def main() -> None:
    for name, render in PAGES.items():
        (REFERENCE / f"{name}.md").write_text(render(), encoding="utf-8")
        print(f"docs/reference/{name}.md")


if __name__ == "__main__":
    main()
