"""The schema as one chain of numbered, checksummed steps over both stores; what was applied is kept in the graph.

A step is `V<number>__<name>` in migrations/: a `.cypher` file for every engine, or one variant an engine
(`.neo4j.cypher`, `.arcadedb.sql`), statements ended by `;` at the end of a line; or a `.py` file with
`apply(graph, vectors)`, where `vectors()` opens the vector store. What takes it back lies beside it: `.undo` before the
endings (`V002__name.undo.cypher`), or a function `undo(graph, vectors)`.

Steps and their undoing must stand repetition. A step is written down after it was applied, and struck out before it is
undone: interrupted in either, it counts as not applied, and applying it makes it whole.
"""

from __future__ import annotations

import hashlib
import re
import runpy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neo4j.exceptions import Neo4jError

from kg.errors import BadInput, JobError, MigrationError
from kg.graph.cypher import core
from kg.graph.driver import Graph
from kg.graph.embedded import run_sql
from kg.graph.locks import LEASE_S, Held, held

if TYPE_CHECKING:
    from kg.vectors.client import VectorStore

__all__ = ["MIGRATIONS", "Step", "applied", "chain", "migrate", "pending", "undo"]

MIGRATIONS = Path(__file__).parents[1] / "migrations"
LOCK = "migration"
_FILE = re.compile(r"V(\d{3})__([a-z0-9_]+)(\.undo)?(?:\.([a-z0-9]+))?\.(cypher|sql|py)")


@dataclass(frozen=True, order=True)
class Step:
    """One link of the chain.

    Attributes:
        checksum: SHA-256 over all variants of the step, without its undoing, 64 hex digits.
        paths: its files; one, or one an engine.
        undo_paths: those that take it back; none where it cannot be undone, or for `.py`, which has both in one.
        crlf: the checksum with the line ends of Windows, which graphs that such a checkout has made may know it by.
    """

    version: int
    name: str
    checksum: str
    paths: tuple[Path, ...]
    undo_paths: tuple[Path, ...] = ()
    crlf: str = ""

    @property
    def label(self) -> str:
        return f"V{self.version:03d}__{self.name}"

    def path(self, engine: str) -> Path:
        """The file that this engine runs.

        Raises:
            MigrationError: the step has none for it.
        """
        return self._variant(self.paths, engine, f"{self.label} has no variant for the engine {engine!r}")

    def undo_path(self, engine: str) -> Path:
        """The file that takes it back on this engine.

        Raises:
            MigrationError: it cannot be undone.
        """
        why = f"{self.label} cannot be undone: there is no {self.label}.undo file for the engine {engine!r}"
        python = tuple(path for path in self.paths if path.suffix == ".py" and "undo" in runpy.run_path(str(path)))
        return self._variant(self.undo_paths or python, engine, why)

    def _variant(self, paths: Sequence[Path], engine: str, why: str) -> Path:
        for path in paths:
            if (match := _FILE.fullmatch(path.name)) and match[4] in (None, engine):
                return path
        raise MigrationError(why)


def chain(folder: Path = MIGRATIONS) -> list[Step]:
    """All steps in order.

    Raises:
        MigrationError: a number is missing or used twice.
    """
    files: dict[int, dict[str, list[Path]]] = {}
    undoing: dict[tuple[int, str], list[Path]] = {}
    for path in sorted(folder.glob("V*")):
        if match := _FILE.fullmatch(path.name):
            if match[3]:
                undoing.setdefault((int(match[1]), match[2]), []).append(path)
            else:
                files.setdefault(int(match[1]), {}).setdefault(match[2], []).append(path)
    steps = []
    for expected, (version, names) in enumerate(sorted(files.items()), start=1):
        if version != expected or len(names) != 1:
            raise MigrationError(f"{folder}: step {expected} must exist once, found version {version}: {sorted(names)}")
        name, paths = next(iter(names.items()))
        back = tuple(undoing.pop((version, name), ()))
        steps.append(Step(version, name, _checksum(paths, b"\n"), tuple(paths), back, _checksum(paths, b"\r\n")))
    if undoing:
        (version, name), paths = min(undoing.items())
        raise MigrationError(f"{paths[0]} undoes a step V{version:03d}__{name} that does not exist")
    return steps


def _checksum(paths: Sequence[Path], line_end: bytes) -> str:
    """The same whichever line ends a checkout has given the files."""
    texts = [path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", line_end) for path in paths]
    return hashlib.sha256(
        b"\0".join(path.name.encode() + b"\0" + text for path, text in zip(paths, texts, strict=True))
    ).hexdigest()


def applied(graph: Graph) -> dict[int, str]:
    """Checksum of each applied version."""
    return {row["version"]: row["checksum"] for row in graph.read(core.MIGRATIONS)}


def pending(graph: Graph, folder: Path = MIGRATIONS) -> list[Step]:
    """Steps that the graph has yet to take.

    Raises:
        MigrationError: an applied step was changed since, or the graph is ahead of this chain.
    """
    steps, known = chain(folder), applied(graph)
    for step in steps:
        if known.get(step.version, step.checksum) not in (step.checksum, step.crlf):
            raise MigrationError(
                f"{step.label} was changed after it was applied: the graph knows checksum "
                f"{known[step.version][:12]}, the file has {step.checksum[:12]}",
                hint="restore the file, and put the change into a new step",
            )
    if ahead := sorted(set(known) - {step.version for step in steps}):
        raise MigrationError(
            f"the graph has steps {ahead} that this version of skugraph does not know",
            hint="upgrade; or undo them with the version that knows them (`skugraph migrate --undo --to N`)",
        )
    return [step for step in steps if step.version not in known]


def migrate(
    graph: Graph,
    *,
    dry_run: bool = False,
    folder: Path = MIGRATIONS,
    vectors: Callable[[], VectorStore] | None = None,
    wait_s: float = 60,
    lease_s: float = LEASE_S,
) -> list[Step]:
    """Apply what is pending, in order; returns those steps. Of several runners one does it, and the others wait.

    Args:
        graph: the store.
        dry_run: only list them.
        folder: where the chain lies.
        vectors: opens the vector store, for the steps that need it.
        wait_s: longest wait for another runner.
        lease_s: a runner that gives no sign of life for so long is taken for dead.

    Raises:
        MigrationError: the chain is broken, or a step failed; the steps before it stay applied. Or another runner was
            not done after `wait_s`.
    """
    steps = pending(graph, folder)
    if dry_run or not steps:
        return steps
    with _alone(graph, wait_s, lease_s) as lock:
        steps = pending(graph, folder)  # another runner may have done them meanwhile
        for step in steps:
            lock.check()
            _run(graph, step.path(graph.engine), "apply", vectors)
            graph.write(core.MIGRATION_APPLIED, version=step.version, name=step.name, checksum=step.checksum)
    return steps


def undo(
    graph: Graph,
    *,
    to: int | None = None,
    dry_run: bool = False,
    folder: Path = MIGRATIONS,
    vectors: Callable[[], VectorStore] | None = None,
    wait_s: float = 60,
    lease_s: float = LEASE_S,
) -> list[Step]:
    """Take applied steps back, the latest first; returns them. Nothing is begun unless all of them can be undone; the
    first step, without which nothing of the graph would keep its key, only where there is nothing in the graph.

    Args:
        graph: the store.
        to: the version to go back to; None takes back the latest step alone.
        dry_run: only list them.
        folder: where the chain lies.
        vectors: opens the vector store, for the steps that need it.
        wait_s: as `migrate`.
        lease_s: as `migrate`.

    Raises:
        BadInput: there is no version `to` below the present one.
        MigrationError: an applied step was changed since, cannot be undone, or its undoing failed; those after it stay
            undone. Or the first is to be undone, and the graph holds data.
    """
    steps = _to_undo(graph, to, folder)
    if dry_run or not steps:
        return steps
    with _alone(graph, wait_s, lease_s) as lock:
        steps = _to_undo(graph, to, folder)
        for step in steps:
            lock.check()
            graph.write(core.MIGRATION_FORGET, version=step.version)
            _run(graph, step.undo_path(graph.engine), "undo", vectors)
    return steps


def statements(text: str) -> list[str]:
    """Statements of a file: each ends with `;` at a line's end; lines that start with `//` or `--` are comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("//", "--"))]
    return [part.strip() for part in re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]


def _to_undo(graph: Graph, to: int | None, folder: Path) -> list[Step]:
    pending(graph, folder)  # refuses a chain that is not the applied one
    known = applied(graph)
    last = max(known, default=0)
    if to is not None and not 0 <= to <= last:
        raise BadInput(f"to = {to}: the schema is at V{last:03d}; name a version from 0 to {last}", field="to")
    down_to = last - 1 if to is None else to
    steps = [step for step in reversed(chain(folder)) if step.version in known and step.version > down_to]
    for step in steps:
        step.undo_path(graph.engine)
    if steps and steps[-1].version == 1 and graph.read(core.DATA):
        raise MigrationError(
            f"{steps[-1].label} is undone in an empty graph only: this one holds data",
            hint="go back to version 1 (`--to 1`), or drop the whole graph instead",
        )
    return steps


@contextmanager
def _alone(graph: Graph, wait_s: float, lease_s: float) -> Iterator[Held]:
    if not applied(graph):
        for statement in core.LOCK_SCHEMA[graph.engine]:
            _statement(graph, statement, sql=graph.engine == "arcadedb")
    try:
        with held(graph, LOCK, wait_s=wait_s, lease_s=lease_s) as lock:
            yield lock
    except JobError as error:
        raise MigrationError(f"another runner is migrating: {error.message}", hint=error.hint) from error


def _run(graph: Graph, path: Path, function: str, vectors: Callable[[], VectorStore] | None) -> None:
    try:
        if path.suffix == ".py":
            runpy.run_path(str(path))[function](graph, vectors or _no_vectors)
        else:
            for statement in statements(path.read_text(encoding="utf-8")):
                _statement(graph, statement, sql=path.suffix == ".sql")
    except Neo4jError as error:
        raise MigrationError(f"{path.name}: {error.message}") from error


def _statement(graph: Graph, statement: str, *, sql: bool) -> None:
    if sql:
        run_sql(graph.at, statement)
    else:
        graph.write(statement)


def _no_vectors() -> Any:
    raise MigrationError("this step needs the vector store, and only the graph was given")
