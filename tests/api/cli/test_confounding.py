"""skugraph confounding: from a checkpoint's findings to the graph, and shown from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.confounding import Confounding, write_confounding
from kg.stores import Stores
from tests.api.cli.run import answer, skugraph
from tests.conftest import wipe

FOUND = [
    Confounding("brand:diesel", "brand", "Diesel", 9, 1.25, 0.5, True),
    Confounding("brand:aurora", "brand", "Aurora", 4, 0.125, None, False),
    Confounding("brand:gone", "brand", "Gone", 2, 1.5, 0.25, True),
]


def checkpoint(folder: Path, *, score: str = "mismatch", fingerprint: str = "a" * 64) -> Path:
    folder.mkdir(exist_ok=True)
    write_confounding(folder, FOUND)
    config = {"encoder": "ei_clip", "learner": {"score": score}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "fingerprint").write_text(fingerprint, encoding="utf-8")
    return folder


@pytest.fixture
def shop(embedded: Stores) -> Stores:
    wipe(embedded)
    for key, df in (("brand:diesel", 9), ("brand:aurora", 4)):
        values = {"key": key, "text": key.partition(":")[2].title(), "df": df}
        embedded.graph.write("CREATE (:Entity:Brand {key: $key, type: 'brand', text: $text, df: $df})", **values)
    return embedded


def test_findings_are_written_shown_and_replaced(shop: Stores, tmp_path: Path) -> None:
    settings = shop.settings
    page = skugraph("confounding", settings=settings)
    assert page.returncode == 0, page.stderr
    assert "no entity has a score yet" in page.stdout
    written = answer("confounding", checkpoint(tmp_path / "ei"), settings=settings)
    assert (written["entities"], written["chosen"], written["unknown"]) == (2, 1, 1)
    assert written["fingerprint"] == "a" * 64
    [most, least] = written["types"]["brand"]["most"]
    assert (most["key"], most["confounding"], most["drop_in_loss"], most["chosen"]) == ("brand:diesel", 1.25, 0.5, True)
    assert (least["key"], least["confounding"], least["chosen"]) == ("brand:aurora", 0.125, False)
    shown = answer("confounding", "-k", 1, settings=settings)
    assert [one["key"] for one in shown["types"]["brand"]["least"]] == ["brand:aurora"]
    query = "MATCH (e:Brand) WHERE e.confounding_chosen RETURN e.key AS key, e.confounding AS score"
    assert answer("cypher", query, settings=settings)["rows"] == [["brand:diesel", 1.25]]

    other = checkpoint(tmp_path / "other", score="drop_in_loss", fingerprint="b" * 64)
    again = skugraph("confounding", other, settings=settings)
    assert again.returncode == 0, again.stderr
    assert "2 entities have findings" in again.stdout
    assert "1 are not in the graph" in again.stdout
    [row] = shop.graph.read(
        "MATCH (e:Entity {key: 'brand:diesel'}) RETURN e.confounding AS score, e.confounding_by AS by"
    )
    assert (row["score"], row["by"]) == (0.5, "b" * 64)


def test_what_is_no_such_checkpoint_is_refused(shop: Stores, tmp_path: Path) -> None:
    plain = tmp_path / "clip"
    plain.mkdir()
    broken = checkpoint(tmp_path / "broken")
    (broken / "config.json").write_text('{"encoder": "ei_clip"}', encoding="utf-8")
    half = checkpoint(tmp_path / "half")
    (half / "fingerprint").unlink()
    for folder, said in (
        (tmp_path / "none", "knows no confounding entities"),
        (plain, "knows no confounding entities"),
        (broken, "does not say by which score"),
        (half, "is no whole encoder"),
    ):
        refused = skugraph("confounding", folder, settings=shop.settings)
        assert refused.returncode == 2, refused.stdout
        assert said in " ".join(refused.stderr.split())
