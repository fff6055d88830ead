from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.meanings import main
from encoders.training import train
from tests.encoders.test_ei_clip import stock


def test_neighbours_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("ei_clip", stock(), tmp_path / "ei", epochs=1, config="ei_clip_tiny+all_entities", device="cpu")
    out = tmp_path / "meanings.json"
    assert main(["--encoder", str(tmp_path / "ei"), "--neighbours", "2", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    colours = [one for one in found["entities"] if one["type"] == "colour"]
    assert {one["text"] for one in colours} == {"Red", "Green", "Blue", "Orange", "Purple", "Black"}
    assert all(len({one["text"], *one["before"]}) == len({one["text"], *one["after"]}) == 3 for one in colours)
    assert [one["name"].partition(":")[0] for one in found["figures"]] == ["colour", "shape"]
    assert "colour: 6 entities" in capsys.readouterr().out


def test_an_encoder_without_entities_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("clip_style", stock(), tmp_path / "clip", epochs=1, config="clip_style_tiny", device="cpu")
    assert main(["--encoder", str(tmp_path / "clip")]) == 2
    assert "has no entities of its own" in capsys.readouterr().out
