"""The quality benchmark on data sets of its layout, drawn here: what it reads, what it writes, what it refuses."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import quality
from benchmarks.quality_data import fashion, grocery

COLOURS = ("red", "green", "blue", "orange", "purple", "black", "gray", "pink", "brown", "cyan")


def table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def pictures(path: Path, colours: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, colour in colours.items():
            data = io.BytesIO()
            Image.new("RGB", (40, 40), colour).save(data, "JPEG")
            archive.writestr(name, data.getvalue())


@pytest.fixture(scope="module")
def fashion_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fashion")
    rows = []
    for n in range(200):
        colour = COLOURS[n % 10]
        rows.append({"file": f"{n}.jpg", "id": n, "instance_id": n, "title": f"{colour} shirt {n}", "brand": "b",
                     "gender": "Men", "cat1": "Apparel", "cat2": "Topwear", "cat3": "Shirts", "colour": colour,
                     "season": "Fall", "year": "2011.0", "usage": "Casual"})  # fmt: skip
    table(folder / "items.csv", rows)
    pictures(folder / "images.zip", {f"{n}.jpg": COLOURS[n % 10] for n in range(200)})
    return folder


@pytest.fixture(scope="module")
def grocery_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grocery")
    classes, images, drawn = [], [], {}
    for number, colour in enumerate(COLOURS):
        common = {"brand": "Arla" if number % 2 else "", "coarse": "Milk", "group": "Packages"}
        named = {"class_id": number, "name": f"{colour} milk", **common}
        classes.append({**named, "description": f"tastes {colour}", "iconic_file": f"iconic/{number}.jpg"})
        drawn[f"iconic/{number}.jpg"] = colour
        for split, count in (("train", 6), ("val", 2), ("test", 3)):
            for n in range(count):
                name = f"natural/{split}/{number}_{n}.jpg"
                images.append({"file": name, "split": split, **named})
                drawn[name] = colour
    table(folder / "classes.csv", classes)
    table(folder / "images.csv", images)
    pictures(folder / "images.zip", drawn)
    return folder


def test_protocol_1_writes_the_contract(fashion_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "1.json"
    options = ["--data", str(fashion_set), "--protocol", "1", "--encoders", "clip_style_tiny", "--epochs", "1"]
    assert quality.main([*options, "--seeds", "2", "--work", str(tmp_path / "work"), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert {row["seed"] for row in document["results"]} == {0, 1}
    metrics = {row["metric"]: row["value"] for row in document["results"] if row["encoder"] == "clip_style_tiny"}
    assert {"i2t/R@1", "i2t/R@5", "i2t/R@10", "t2i/R@1", "sample100/i2t/R@1", "sample100/t2i/R@10"} <= set(metrics)
    assert all(0 <= value <= 100 for value in metrics.values())
    assert document["budget"]["trainings"][0]["epochs"] == 1
    assert "sample100/i2t/R@1" in capsys.readouterr().out


def test_protocol_3_beats_chance_and_tells_cartons_apart(grocery_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "3.json"
    options = ["--data", str(grocery_set), "--protocol", "3", "--encoders", "clip_style_tiny", "--epochs", "2"]
    assert quality.main([*options, "--work", str(tmp_path / "work"), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    metrics = {row["metric"]: row["value"] for row in document["results"]}
    assert metrics["photos/R@1"] == 100.0  # the very same colour is in the gallery
    assert {"iconic/R@1", "iconic+text/mAP@10", "text/cartons/R@1", "photos/cartons/mAP@10"} <= set(metrics)
    assert document["budget"]["test items"] == 30
    assert document["budget"]["carton test items"] == 15


def test_splits_and_test_data(fashion_set: Path, grocery_set: Path) -> None:
    own, other = fashion(fashion_set, None, False), fashion(fashion_set, fashion_set, False)
    assert 20 < own.facts["test items"] < 60
    assert other.facts["test items"] == 200
    assert {item.id for item in own.training} == {item.id for item in other.training}
    assert {item.part for item in own.training} == {"train", "val"}
    assert grocery(grocery_set, grocery_set, False).facts["test items"] == 110
    assert len(grocery(grocery_set, None, False).training) == 80


def test_quick_takes_a_tenth(fashion_set: Path) -> None:
    quick = fashion(fashion_set, None, True)
    assert 5 < len(quick.training) + quick.facts["test items"] < 40


@pytest.mark.parametrize(("protocol", "words"), [("2", "CAPTURE"), ("4", "EGE-CMP")])
def test_protocols_to_come_say_so(
    protocol: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quality.main(["--data", str(tmp_path), "--protocol", protocol]) == 2
    assert words in capsys.readouterr().out


def test_no_data_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main(["--data", str(tmp_path), "--protocol", "1"]) == 2
    assert "items.csv" in capsys.readouterr().out
