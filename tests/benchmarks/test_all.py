from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.__main__ import commands


def test_every_benchmark_is_run_and_can_be() -> None:
    plain, with_data = commands(Path("out"), None, True), commands(Path("out"), Path("data"), False)
    assert ["benchmarks.ingest", "--quick", "--out", "out/ingest.json"] in plain
    assert not any(command[0] == "benchmarks.quality" for command in plain)
    found = [c[2] for c in with_data if c[0] == "benchmarks.quality"]
    assert found == ["data/fashion9k", "data/ikea", "data/grocerystore", "data/product1m-text"]
    assert all(callable(importlib.import_module(command[0]).main) for command in with_data)
