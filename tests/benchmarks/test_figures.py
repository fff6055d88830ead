from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.figures import Figure, machine, write_figures


def test_document_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = [Figure("ingest", 6000.0, "rows/s", 3000.0, "at least 5,000 rows/s", True), Figure("size", 3.0, "MB")]
    write_figures(figures, tmp_path / "deep" / "out.json")
    document = json.loads((tmp_path / "deep" / "out.json").read_text())
    assert document["figures"] == [
        {"name": "ingest", "value": 6000.0, "unit": "rows/s", "baseline": 3000.0, "goal": "at least 5,000 rows/s",
         "met": True, "ratio": 2.0},
        {"name": "size", "value": 3.0, "unit": "MB", "baseline": None, "goal": "", "met": None, "ratio": None},
    ]  # fmt: skip
    assert {"cores", "memory_gb", "python", "packages"} <= set(document["machine"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1


def test_machine_names_what_is_installed() -> None:
    import torch

    assert machine()["packages"]["torch"] == torch.__version__
