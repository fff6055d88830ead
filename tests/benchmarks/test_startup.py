from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.startup import answered, fill, run
from kg.home import Home
from kg.processes import free_port
from kg.stores import stop_stores


@pytest.mark.slow
def test_the_first_answer_comes_after_the_stores_and_before_ready(tmp_path: Path) -> None:
    home = Home(tmp_path)
    try:
        fill(home, 60)
        seconds = run(home)
    finally:
        stop_stores(home)
    assert 0 < seconds["answer"] <= seconds["ready"]


def test_nobody_answers() -> None:
    assert not answered(free_port())
