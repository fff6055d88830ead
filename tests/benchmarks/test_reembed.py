from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import reembed


@pytest.mark.slow
def test_runs_on_real_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["reembed", "--quick", "--size", "80", "--kills", "1", "--out", str(out)])
    reembed.main()
    figures = {figure["name"]: figure for figure in json.loads(out.read_text())["figures"]}
    assert figures["processes killed with -9"]["value"] == 1
    assert figures["instances of each generation"]["value"] == 80
    missed = [name for name, figure in figures.items() if figure["met"] is False]
    assert missed == []
    for name in ("promote", "roll back"):
        assert figures[f"{name} under search load, against idle"]["value"] > 0
    assert figures["search p95 while embedding, against idle"]["ratio"] > 0
