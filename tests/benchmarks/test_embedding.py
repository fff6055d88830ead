from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import embedding
from benchmarks.embedding import STAGES, Times
from tests.tiny_encoder import write_tiny


def test_ratio_and_shares() -> None:
    times = Times(
        count=10,
        forward=[1.0, 3.0, 2.0],
        forward_cpu=[2.0],
        job=[4.5],
        job_cpu=[2.6],
        servers={"graph": [0.3], "vectors": [0.1]},
        wall={name: [0.5] for name in STAGES} | {"pipeline": [4.0]},
        cpu={name: [0.1] for name in STAGES},
    )
    found = {figure.name.removeprefix("x: "): figure for figure in times.figures("x")}
    whole = found["decode to upsert"]
    assert (whole.value, whole.baseline, whole.ratio, whole.met) == (2.5, 5.0, 0.5, False)
    assert found["once a job, to make collections and go live"].value == 0.5
    assert found["processor time, forward alone of all"].ratio == pytest.approx(2 / 3)
    shares = {name.partition(", ")[2]: f.value for name, f in found.items() if name.startswith("processor time, ")}
    del shares["forward alone of all"]
    assert shares["propose and encode"] == pytest.approx(220)
    assert sum(shares.values()) == pytest.approx(300), "all of it is somewhere"


def test_runs_on_real_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, out = write_tiny(tmp_path / "tiny", detector=True), tmp_path / "out.json"
    options = ["--quick", "--size", "12", "--sides", "300", "--encoder", str(encoder), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["embedding", *options])
    embedding.main()
    figures = {figure["name"]: figure for figure in json.loads(out.read_text())["figures"]}
    for title in ("tiny, 300 px", "tiny, 300 px, up to 6 regions"):
        whole = figures[f"{title}: decode to upsert"]
        assert whole["value"] > 0
        assert whole["ratio"] == whole["value"] / whole["baseline"]
    assert figures["tiny, 300 px: time in propose"]["value"] == 0
    assert figures["tiny, 300 px, up to 6 regions: time in propose"]["value"] > 0
