"""The schema as a chain of numbered, checksummed steps; what was applied is kept in the graph itself.

A step is `V<number>__<name>` in migrations/: a `.cypher` file for every engine, or one variant an engine
(`.neo4j.cypher`, `.arcadedb.sql`), statements ended by `;` at the end of a line; or a `.py` file with
`apply(graph: Graph) -> None`. Steps must stand repetition: one that was interrupted runs again from its start.
"""

from __future__ import annotations

import hashlib
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

from neo4j.exceptions import Neo4jError

from kg.errors import MigrationError
from kg.graph.cypher import core
from kg.graph.driver import Graph
from kg.graph.embedded import run_sql

__all__ = ["MIGRATIONS", "Step", "applied", "chain", "migrate", "pending"]

MIGRATIONS = Path(__file__).parents[1] / "migrations"
_FILE = re.compile(r"V(\d{3})__([a-z0-9_]+)(?:\.([a-z0-9]+))?\.(cypher|sql|py)")


@dataclass(frozen=True, order=True)
class Step:
    """One link of the chain.

    Attributes:
        checksum: SHA-256 over all variants of the step, 64 hex digits.
        paths: its files; one, or one an engine.
    """

    version: int
    name: str
    checksum: str
    paths: tuple[Path, ...]

    def path(self, engine: str) -> Path:
        """The file that this engine runs.

        Raises:
            MigrationError: the step has none for it.
        """
        for path in self.paths:
            if (match := _FILE.fullmatch(path.name)) and match[3] in (None, engine):
                return path
        raise MigrationError(f"V{self.version:03d}__{self.name} has no variant for the engine {engine!r}")


def chain(folder: Path = MIGRATIONS) -> list[Step]:
    """All steps in order.

    Raises:
        MigrationError: a number is missing or used twice.
    """
    files: dict[int, dict[str, list[Path]]] = {}
    for path in sorted(folder.glob("V*")):
        if match := _FILE.fullmatch(path.name):
            files.setdefault(int(match[1]), {}).setdefault(match[2], []).append(path)
    steps = []
    for expected, (version, names) in enumerate(sorted(files.items()), start=1):
        if version != expected or len(names) != 1:
            raise MigrationError(f"{folder}: step {expected} must exist once, found version {version}: {sorted(names)}")
        name, paths = next(iter(names.items()))
        digest = hashlib.sha256(b"\0".join(path.name.encode() + b"\0" + path.read_bytes() for path in paths))
        steps.append(Step(version, name, digest.hexdigest(), tuple(paths)))
    return steps


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
        if known.get(step.version, step.checksum) != step.checksum:
            raise MigrationError(
                f"V{step.version:03d}__{step.name} was changed after it was applied: the graph knows checksum "
                f"{known[step.version][:12]}, the file has {step.checksum[:12]}",
                hint="restore the file, and put the change into a new step",
            )
    if ahead := sorted(set(known) - {step.version for step in steps}):
        raise MigrationError(f"the graph has steps {ahead} that this version of skugraph does not know", hint="upgrade")
    return [step for step in steps if step.version not in known]


def migrate(graph: Graph, *, dry_run: bool = False, folder: Path = MIGRATIONS) -> list[Step]:
    """Apply what is pending, in order; returns those steps.

    Args:
        graph: the store.
        dry_run: only list them.
        folder: where the chain lies.

    Raises:
        MigrationError: the chain is broken, or a step failed; the steps before it stay applied.
    """
    steps = pending(graph, folder)
    for step in () if dry_run else steps:
        path = step.path(graph.engine)
        try:
            if path.suffix == ".py":
                runpy.run_path(str(path))["apply"](graph)
            else:
                for statement in statements(path.read_text(encoding="utf-8")):
                    run_sql(graph.at, statement) if path.suffix == ".sql" else graph.write(statement)
        except Neo4jError as error:
            raise MigrationError(f"{path.name}: {error.message}") from error
        graph.write(core.MIGRATION_APPLIED, version=step.version, name=step.name, checksum=step.checksum)
    return steps


def statements(text: str) -> list[str]:
    """Statements of a file: each ends with `;` at a line's end; lines that start with `//` or `--` are comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("//", "--"))]
    return [part.strip() for part in re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]
