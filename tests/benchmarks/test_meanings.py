from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.meanings import main, meanings
from encoders import load
from encoders.config import load_config
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


@pytest.mark.parametrize("change", ["no_entities", "token_fusion+no_dictionary"])
def test_no_vectors_and_tokens(change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = f"ei_clip_tiny+all_entities+{change}"
    train("ei_clip", stock(), tmp_path / "ei", epochs=1, config=config, device="cpu")
    code = main(["--encoder", str(tmp_path / "ei"), "--neighbours", "2"])
    out = capsys.readouterr().out
    assert (code, "chose none of its" in out, "colour: 6 entities" in out) == (
        (2, True, False) if change == "no_entities" else (0, False, True)
    )


def test_before_is_what_the_encoders_own_text_model_reads(tmp_path: Path) -> None:
    config = load_config("ei_clip_tiny+all_entities", epochs=1)
    found = {}
    for depth in (None, 0):
        config["text"]["depth"] = depth
        (tmp_path / f"{depth}.json").write_text(json.dumps(config))
        train("ei_clip", stock(), tmp_path / f"{depth}", config=tmp_path / f"{depth}.json", device="cpu")
        encoder = load(tmp_path / f"{depth}", device="cpu")
        rows = meanings(encoder, encoder.lexicon, neighbours=2)  # type: ignore[arg-type, attr-defined]
        found[depth] = {one.text: one.before for one in rows}
    assert found[0].keys() == found[None].keys()
    assert found[0] != found[None]


def test_an_encoder_without_entities_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("clip_style", stock(), tmp_path / "clip", epochs=1, config="clip_style_tiny", device="cpu")
    assert main(["--encoder", str(tmp_path / "clip")]) == 2
    assert "has no entities of its own" in capsys.readouterr().out
