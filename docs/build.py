"""Writes the reference pages from the code: `python docs/build.py`. tests/test_docs.py fails where a page lags behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import typer.main
from prometheus_client import REGISTRY

from api.app import create_app
from api.cli import app as cli
from kg import errors
from kg.settings import Settings, load_settings
from workers.app import app as celery

REFERENCE = Path(__file__).parent / "reference"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars in a cell are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if default is None else getattr(default, "get_secret_value", lambda d=default: d)()
        rows.append((f"`{name}`", f"`{shown}`" if shown != "" else "", field.description))
    return (
        "# Settings\n\nArguments win over the environment (`SKUGRAPH_NAME`), which wins over `skugraph.toml` in the home "
        "folder\n(`name = value`), which wins over the default. An unknown name or a value out of range is refused.\n\n"
        + table(("name", "default", "what it is"), rows)
    )


def commands() -> str:
    parts = ["# Command line\n\nEvery command takes `--home DIR` and `--json` (one document on stdout, logs on stderr) and ends with\n0 done, 1 failed, 2 bad input. `skugraph COMMAND --help` teaches by example."]
    for path, command in walk(typer.main.get_command(cli), ()):
        usage = []
        for param in command.params:
            if param.name in ("help", "install_completion", "show_completion"):
                continue
            name = " ".join(f"`{opt}`" for opt in (*param.opts, *param.secondary_opts)) if param.param_type_name == "option" else f"`{param.human_readable_name}`"
            usage.append((name, getattr(param, "help", None) or ""))
        first = (command.help or "").strip().split("\n\n")[0].replace("\n", " ")
        parts.append(f"## skugraph {' '.join(path)}\n\n{first}\n\n" + table(("argument", "what it is"), usage))
    return "\n\n".join(parts)


def walk(command, path):  # noqa: ANN001, ANN201 - click's command tree, leaves only
    if hasattr(command, "commands"):
        for name, child in sorted(command.commands.items()):
            yield from walk(child, (*path, name))
    else:
        yield path, command


def routes() -> str:
    rows = []
    for path, methods in create_app(load_settings()).openapi()["paths"].items():
        for method, operation in methods.items():
            text = operation.get("description", operation["summary"]).strip().split("\n\n")[0].replace("\n", " ")
            rows.append((f"`{method.upper()} {path}`", text))
    codes = [(f"`{cls.code}`", f"`{name}`", (cls.__doc__ or "").strip().split("\n")[0]) for name, cls in sorted(vars(errors).items()) if isinstance(cls, type) and issubclass(cls, errors.SkugraphError)]
    return "# REST\n\n`/docs` of a running server has the schemas, with examples to try.\n\n" + table(("route", "what it does"), sorted(rows)) + "\n\n## Errors\n\nRFC 9457 `application/problem+json`; `type` ends in one of these codes.\n\n" + table(("code", "error", ""), codes)


def tasks() -> str:
    celery.loader.import_default_modules()
    rows = []
    for name, task in sorted(celery.tasks.items()):
        if not name.startswith("celery."):
            queue = celery.amqp.router.route({}, name)["queue"]
            rows.append((f"`{name}`", f"`{getattr(queue, 'name', queue)}`", re.sub(r"\s+", " ", (task.__doc__ or "").strip().split("\n\n")[0])))
    return "# Tasks\n\nCelery tasks and their queues. All are idempotent and late-acknowledged; the job in the graph is the truth.\n\n" + table(("task", "queue", "what it does"), rows)


def metrics() -> str:
    rows = [(f"`{m.name}`", m.type, m.documentation) for m in REGISTRY.collect() if m.name.startswith("skugraph")]
    return "# Metrics\n\n`GET /metrics`, in the text format of Prometheus.\n\n" + table(("metric", "type", "what it counts"), sorted(rows))


PAGES: dict[str, Callable[[], str]] = {"settings": settings, "cli": commands, "rest": routes, "tasks": tasks, "metrics": metrics}


def main() -> None:
    for name, render in PAGES.items():
        (REFERENCE / f"{name}.md").write_text(render() + "\n", encoding="utf-8")
        print(f"docs/reference/{name}.md")


if __name__ == "__main__":
    main()
