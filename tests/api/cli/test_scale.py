"""`skugraph scale` as a process: what it loads, what it writes, and its refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kg.stores import Stores
from tests.api.cli.run import answer, skugraph


def test_a_catalogue_is_loaded_and_what_is_near_is_found(stores: Stores) -> None:
    loaded = answer("scale", 60, "--dim", 8, settings=stores.settings)
    assert (loaded["listings"], loaded["vectors"]) == (60, 60)
    found = answer("search", "--like", "s00000003", "-k", 5, settings=stores.settings)
    assert found["returned"] == 5
    assert found["generation"] == loaded["generation"]


def test_a_catalogue_as_files(tmp_path: Path) -> None:
    done = skugraph("scale", 30, "--dim", 4, "--files", tmp_path / "big")
    assert done.returncode == 0, done.stderr
    assert "`skugraph ingest` takes the table" in done.stdout
    assert np.load(tmp_path / "big/vectors-00000.npy").shape == (30, 4)


def test_none_is_refused() -> None:
    done = skugraph("scale", 0)
    assert done.returncode == 2
    assert "0 listings: a made-up catalogue has 1 to 10,000,000" in done.stderr
