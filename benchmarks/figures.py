"""What the benchmarks share: the machine they ran on, figures beside their baselines, a printed table, a JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

__all__ = ["Figure", "document", "machine", "peak_kb", "print_table", "pyplot", "write_figures", "write_json"]

PACKAGES = ("arcadedb-embedded", "milvus-lite", "neo4j", "numpy", "pymilvus", "torch")


@dataclass(frozen=True)
class Figure:
    """One measured value and the baseline of the same run.

    Attributes:
        name: what was measured.
        value: in `unit`.
        baseline: the same measure of the plain way to do it; None where there is none.
        goal: as text, such as "at least 5,000 rows/s"; empty where there is none.
        met: whether the goal is met; None where there is none.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    goal: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Value over baseline."""
        return self.value / self.baseline if self.baseline else None


def machine() -> dict[str, Any]:
    """Where a benchmark ran: figures of two machines are not to be compared."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "packages": versions,
    }


def peak_kb() -> int:
    """Peak memory of this process so far, in kB, what is mapped from files included. Linux only.

    Not `ru_maxrss`: a child begins with that of the process that started it.
    """
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def write_figures(figures: Sequence[Figure], out: Path | None) -> None:
    """Prints the figures, and writes them with the machine where `out` is given."""
    print_table(
        ("figure", "value", "unit", "baseline", "ratio", "goal", "met"),
        [
            (
                f.name,
                _short(f.value),
                f.unit,
                _short(f.baseline),
                _short(f.ratio),
                f.goal,
                "" if f.met is None else f.met,
            )
            for f in figures
        ],
    )
    if out:
        write_json(out, document(figures))


def document(figures: Iterable[Figure]) -> dict[str, Any]:
    """The machine and the figures, as every benchmark's JSON begins."""
    return {"machine": machine(), "figures": [{**asdict(f), "ratio": f.ratio} for f in figures]}


def write_json(out: Path, document: object) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns in line, Markdown."""
    lines = [[str(cell) for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |", flush=True)


def pyplot() -> ModuleType | None:
    """matplotlib's, drawing into files; None, which is said, where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed (extra `plots`)")
        return None
    matplotlib.use("Agg")
    return import_module("matplotlib.pyplot")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()
