from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import entities, quality
from benchmarks.entities import Caption, captions_of, sample_captions, scores
from kg.errors import BadInput

LABELLED = """title,labels
"AHC黄金面霜 正品",AHC 黄金面霜#;#AHC 黄金水
"兰蔻小黑瓶眼霜",兰蔻 眼霜
"""


def folder(path: Path, text: str) -> Path:
    (path / "items.csv").write_text(text, encoding="utf-8")
    return path


def test_what_stands_in_the_title_is_asked_for(tmp_path: Path) -> None:
    first, second = captions_of(folder(tmp_path, LABELLED))
    assert first.words == {"ahc", "黄金", "面霜"}  # 水 is one letter
    assert first.values == {"brand": frozenset({"ahc"})}
    assert second.values == {"brand": frozenset({"兰蔻"})}
    text = 'title,brand,cat3,colour\n"Palm-Tree navy-blue T-Shirts",palm tree,Tshirts,Red\n'
    [third] = captions_of(folder(tmp_path, text))
    assert third.values == {
        "brand": frozenset({"palmtree"}), "article type": frozenset({"tshirts"}), "colour": frozenset()
    }  # fmt: skip


def test_scores_by_hand() -> None:
    captions = [
        Caption("a red mug", "1", values={"brand": frozenset(), "colour": frozenset({"red"})}),
        Caption("Acme bowl", "2", values={"brand": frozenset({"acme"}), "colour": frozenset()}),
    ]
    found = scores(captions, lambda caption: ["Red", "mug"] if "red" in caption else ["bowl"])
    assert found["values/precision"] == pytest.approx(100 / 3)
    assert found["values/recall"] == pytest.approx(50)
    assert found["colour/recall"] == 100
    assert found["brand/recall"] == found["brand/f1"] == 0
    assert found["entities/mean"] == 1.5
    words = scores([Caption("x", "1", words=frozenset({"red", "mug"}))], lambda _: ["red mug", "new"])
    assert (words["label/precision"], words["label/recall"]) == (pytest.approx(200 / 3), 100)


def test_mined_phrases_beat_all_words_on_the_sample(tmp_path: Path) -> None:
    assert entities.main(["--size", "60", "--out", str(tmp_path / "out.json")]) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert {"machine", "figures"} == document.keys()
    figures = {figure["name"]: figure for figure in document["figures"]}
    assert figures["mined values/f1"]["met"] is True
    assert figures["mined values/f1"]["value"] > figures["ngrams values/f1"]["value"]
    assert figures["mined values/f1"]["baseline"] == figures["words values/f1"]["value"]


def test_the_test_part_is_not_read_when_thresholds_are_chosen() -> None:
    captions = sample_captions(40)
    figures, _ = entities.measure(captions, part="val")
    kept = [one for one in captions if entities.split_of(one.key) != "test"]
    assert figures["mined"] == entities.measure(kept, part="val")[0]["mined"]


def test_protocol_4_writes_the_contract_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f'"title {n} acme {"red" if n % 2 else "blue"} mug",k{n},acme,mug,red\n' for n in range(60))
    data, out = folder(tmp_path, "title,instance_id,brand,cat3,colour\n" + rows), tmp_path / "out.json"
    options = ["--protocol", "4", "--data", str(data), "--out", str(out)]
    assert quality.main([*options, "--report", str(tmp_path / "report")]) == 0
    document = json.loads(out.read_text())
    assert document["budget"]["protocol"] == 4
    names = {(row["encoder"], row["metric"]) for row in document["results"]}
    assert names >= {(name, "entity/brand/recall") for name in ("mined", "mined_unseen", "jieba", "ngrams")}
    assert {row["seed"] for row in document["results"]} == {0}
    assert "values f1" in (tmp_path / "report" / "quality-4.md").read_text()

    assert quality.main([*options, "--test-data", str(data), "--encoders", "mined"]) == 0
    document = json.loads(out.read_text())
    assert {row["encoder"] for row in document["results"]} == {"mined"}
    assert document["budget"]["captions asked"] == 60
    assert quality.main([*options, "--encoders", "mined,capture"]) == 2
    assert "not capture" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,brand\nx,y\n", "no column `title`"),
        ("title,price\nx,1\n", "neither `labels`"),
        ("title,labels\n", "none"),
    ],
)
def test_nothing_to_measure(tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entities.main(["--data", str(folder(tmp_path, text))]) == 2
    assert words in capsys.readouterr().out
    with pytest.raises(BadInput, match="no table"):
        captions_of(tmp_path / "nowhere")
