"""How the embedded graph is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kg.graph import embedded
from kg.graph.embedded import EmbeddedGraph
from kg.home import Home


@pytest.mark.parametrize(
    ("heap", "machine_gb", "container", "wanted"),
    [
        ("auto", 16, "max", []),  # Java takes a quarter by itself
        ("auto", 16, str(8 << 30), []),
        ("auto", 16, str(2 << 30), ["-Xmx1g"]),
        ("auto", 16, str(2**63 - 4096), []),  # the first version of control groups says so for no limit
        ("auto", 2, "max", ["-Xmx1g"]),
        ("3g", 2, "max", ["-Xmx3g"]),
    ],
)
def test_the_heap_is_a_quarter_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heap: str, machine_gb: int, container: str, wanted: list[str]
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{container}\n")
    monkeypatch.setattr(embedded, "CGROUP", (tmp_path / "absent", limit))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": (machine_gb << 30) // 4096}
    monkeypatch.setattr(os, "sysconf", lambda name: sizes[name])
    graph = EmbeddedGraph(Home(tmp_path / "home").create(), 7001, 7002, heap=heap)
    assert [word for word in graph.command() if word.startswith("-Xmx")] == wanted
