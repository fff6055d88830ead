"""Dependencies point one way, and what must start fast does not load torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "kg": {"encoders", "workers", "api", "torch", "celery", "fastapi"},
    "encoders": {"workers", "api", "celery", "fastapi"},
    "workers": {"api", "fastapi"},
}


def imports(path: Path) -> set[str]:
    """Top-level names that a module imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    modules = list((ROOT / package).rglob("*.py"))
    assert modules
    wrong = {str(path.relative_to(ROOT)): bad for path in modules if (bad := imports(path) & FORBIDDEN[package])}
    assert not wrong


@pytest.mark.parametrize(
    "module", ["kg.stores", "kg.catalogue.ingest", "api.app", "api.cli", "workers.app", "encoders"]
)
def test_import_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'milvus_lite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_cypher_stands_in_one_place() -> None:
    """Statements live in kg/graph/cypher; a clause anywhere else in the packages is a stray."""
    clauses = ("MATCH (", "MERGE (", "UNWIND $", "DETACH DELETE")
    strays = []
    for package in ("kg", "encoders", "workers", "api"):
        for path in (ROOT / package).rglob("*.py"):
            if "cypher" in path.relative_to(ROOT).parts[:-1]:
                continue
            docs = docstrings(path)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs:
                    strays += [f"{path.relative_to(ROOT)}:{node.lineno}"] * any(c in node.value for c in clauses)
    # Examples in help texts are shown to people, not sent to the server.
    assert [s for s in strays if not s.startswith(("api/cli/", "api/routes/", "api/models.py", "api/demo.py"))] == []


def docstrings(path: Path) -> set[str]:
    """Raw docstrings of a module, its classes and functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, kinds)]
    return {ast.get_docstring(node, clean=False) or "" for node in nodes}
