"""The quality benchmark on data sets of its layout, drawn here: what it reads, what it writes, what it refuses."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import quality
from benchmarks.quality_data import fashion, grocery
from benchmarks.quality_report import main as report
from benchmarks.quality_rooms import Room, figures_of, rooms
from encoders.data import TrainItem, split_of
from kg.errors import BadInput
from tests.tiny_encoder import TinyEncoder

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


@pytest.fixture(scope="module")
def ikea_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 products of two colours each; 24 rooms that show three of them, pasted on white."""
    folder = tmp_path_factory.mktemp("ikea")
    items, asked, drawn = [], [], {}
    pairs = {
        f"{left}-{right}": (left, right) for n, left in enumerate(COLOURS) for right in (COLOURS * 2)[n + 1 : n + 4]
    }
    painted = {}
    for id, (left, right) in pairs.items():
        painted[id] = Image.new("RGB", (48, 48), left)
        painted[id].paste(right, (24, 0, 48, 48))
        drawn[f"items/{id}.jpg"] = painted[id]
        items.append({"file": f"items/{id}.jpg", "product_id": id, "title": f"{left} and {right} box", "series": "BOX",
                      "type": "Box", "colour": left, "size": "", "description": "", "n_rooms": 2})  # fmt: skip
    names = list(pairs)
    for number in range(24):
        inside = [names[(number * 7 + step * 11) % 30] for step in range(3)]
        room = Image.new("RGB", (200, 80), "white")
        for place, id in enumerate(inside):
            room.paste(painted[id], (10 + 64 * place, 12))
        drawn[f"rooms/{number}.jpg"] = room
        listed = [] if number == 0 else [*inside, "999.999.99"] if number == 1 else inside
        asked.append({"file": f"rooms/{number}.jpg", "scene": f"scene-{number}", "n_items": len(listed),
                      "room_type": ("Kitchen", "Hallway")[number % 2], "product_ids": " ".join(listed)})  # fmt: skip
    table(folder / "items.csv", items)
    table(folder / "rooms.csv", asked)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name, picture in drawn.items():
            data = io.BytesIO()
            picture.save(data, "JPEG", quality=95)
            archive.writestr(name, data.getvalue())
    return folder


def test_protocol_1_writes_the_contract(fashion_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "1.json"
    name = "clip_style_tiny+no_scenes"
    options = ["--data", str(fashion_set), "--protocol", "1", "--encoders", name, "--epochs", "1"]
    more = ["--seeds", "2", "--jobs", "2", "--out", str(out)]
    assert quality.main([*options, *more, "--work", str(tmp_path / "work")]) == 0
    document = json.loads(out.read_text())
    assert {row["seed"] for row in document["results"]} == {0, 1}
    metrics = {row["metric"]: row["value"] for row in document["results"] if row["encoder"] == name}
    assert {"i2t/R@1", "i2t/R@5", "i2t/R@10", "t2i/R@1", "sample100/i2t/R@1", "sample100/t2i/R@10"} <= set(metrics)
    assert all(0 <= value <= 100 for value in metrics.values())
    assert document["budget"]["trainings"][0]["epochs"] == 1
    assert "sample100/i2t/R@1" in capsys.readouterr().out
    assert document["budget"]["jobs"] == 2
    assert sorted((t["encoder"], t["seed"]) for t in document["budget"]["trainings"]) == [(name, 0), (name, 1)]
    assert quality.main([*options, "--seeds", "2", "--jobs", "1", "--out", str(out), "--work", str(tmp_path)]) == 0
    after = json.loads(out.read_text())
    for one, other in zip(document["results"], after["results"], strict=True):  # one after the other gives the same
        assert (one["seed"], one["metric"]) == (other["seed"], other["metric"])
        assert one["value"] == pytest.approx(other["value"], abs=5)  # threads add up in another order


def test_pictures_that_cannot_be_read_are_counted_before_the_training(fashion_set: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes((fashion_set / "items.csv").read_bytes())
    whole = fashion(fashion_set, None, False).facts
    with zipfile.ZipFile(fashion_set / "images.zip") as source, zipfile.ZipFile(tmp_path / "images.zip", "w") as broken:
        with (fashion_set / "items.csv").open(encoding="utf-8") as file:
            tested = [row["file"] for row in csv.DictReader(file) if split_of(row["instance_id"]) == "test"]
        for name in source.namelist():
            broken.writestr(name, b"no picture" if name == tested[0] else source.read(name))
    facts = fashion(tmp_path, None, False).facts
    unread = "test items without a picture that can be read"
    assert (facts["test items"], facts[unread]) == (whole["test items"] - 1, whole[unread] + 1)


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


def test_no_encoder_is_told_which_part_an_item_is_of(fashion_set: Path, grocery_set: Path, ikea_set: Path) -> None:
    sets = [fashion(fashion_set, None, False), grocery(grocery_set, None, False), rooms(ikea_set, None, False)]
    told = {pair for one in sets for item in one.training for pair in item.entities}
    assert {"brand", "category"} <= {kind for kind, _ in told}
    assert not {"train", "val", "test"} & {word for pair in told for word in pair}


def test_listings_that_name_no_product_are_not_one_product(fashion_set: Path, tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes((fashion_set / "images.zip").read_bytes())
    with (fashion_set / "items.csv").open(encoding="utf-8") as file:
        rows: list[dict[str, object]] = [{**row, "instance_id": ""} for row in csv.DictReader(file)]
    table(tmp_path / "items.csv", rows)
    found = fashion(tmp_path, None, False)
    assert len(found.training) + found.facts["test items"] == 200  # none is both trained on and tested
    [figures] = [way.test for way in fashion(fashion_set, tmp_path, False).measure(TinyEncoder()).ways.values()]
    [known] = [way.test for way in fashion(fashion_set, fashion_set, False).measure(TinyEncoder()).ways.values()]
    assert figures["i2t/R@1"] == known["i2t/R@1"] < 50


def test_quick_takes_a_tenth(fashion_set: Path) -> None:
    quick = fashion(fashion_set, None, True)
    assert 5 < len(quick.training) + quick.facts["test items"] < 40


def test_no_data_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main(["--data", str(tmp_path), "--protocol", "1"]) == 2
    assert "items.csv" in capsys.readouterr().out


def test_rooms_are_split_and_counted(ikea_set: Path, tmp_path: Path) -> None:
    own = rooms(ikea_set, None, False)
    val = sum(split_of(f"scene-{n}") == "val" for n in range(1, 24))
    assert own.facts["val rooms"] == val > 0
    assert own.facts["test rooms"] == 23 - val
    assert own.facts["rooms without a known product"] == 1
    assert own.facts["products that are not in the gallery"] == 1
    assert own.facts["gallery items"] == len(own.training) == 30
    assert {item.part for item in own.training} == {"train"}
    other = rooms(ikea_set, ikea_set, False)
    assert other.facts["test rooms"] == 23  # all of them, whatever their hash
    (tmp_path / "images.zip").write_bytes((ikea_set / "images.zip").read_bytes())
    table(tmp_path / "rooms.csv", [{"file": "rooms/0.jpg", "scene": "s", "room_type": "", "product_ids": "none"}])
    with pytest.raises(BadInput, match="no room to test on"):
        rooms(ikea_set, tmp_path, False)


def test_a_room_whose_picture_is_missing_is_known_before_anything_is_trained(ikea_set: Path, tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes((ikea_set / "images.zip").read_bytes())
    shared = {"room_type": "Kitchen", "product_ids": "red-green"}
    files = {"a": "rooms/0.jpg", "b": "rooms/missing.jpg", "c": ""}
    table(tmp_path / "rooms.csv", [{"file": file, "scene": name, **shared} for name, file in files.items()])
    facts = rooms(ikea_set, tmp_path, False).facts
    assert (facts["test rooms"], facts["rooms without a picture that can be read"]) == (1, 2)


def test_a_photo_of_a_class_that_is_not_known(grocery_set: Path, tmp_path: Path) -> None:
    row = {"file": "natural/x.jpg", "class_id": 99, "name": "Kiwi", "brand": "", "coarse": "Kiwi", "group": "Fruit"}
    table(tmp_path / "images.csv", [row])
    with pytest.raises(BadInput, match=r"'natural/x.jpg' is of class '99', of which classes.csv knows nothing"):
        grocery(grocery_set, tmp_path, False)


@pytest.mark.parametrize("seeds", ["0", "-1"])
def test_a_seed_at_least(tmp_path: Path, capsys: pytest.CaptureFixture[str], seeds: str) -> None:
    with pytest.raises(SystemExit):
        quality.main(["--data", str(tmp_path), "--protocol", "1", "--seeds", seeds])
    assert f"{seeds}: at least 1" in capsys.readouterr().err


def test_regions_find_what_the_whole_picture_hides(ikea_set: Path) -> None:
    measured = rooms(ikea_set, None, False).measure(TinyEncoder(detector=True))
    best = {way.method: found.test["p1m_script/mAP@10"]
            for way, found in measured.ways.items()
            if way.question == "room" and way.gallery == "picture" and way.limit in (0, 36)}  # fmt: skip
    assert best["max_score"] > 90
    assert best["round_robin"] > 90
    assert best["whole"] < 50
    questions = {way.question for way in measured.ways}
    assert questions == {"room", "room+type"}
    plain = rooms(ikea_set, None, False).measure(TinyEncoder())
    assert {way.method for way in plain.ways} == {"whole"}


def test_figures_of_rooms_by_hand() -> None:
    ids = [f"p{n}" for n in range(12)]
    asked = [Room(TrainItem(name, name, "", Image.Image), kind, labels) for name, kind, labels in
             (("a", "Kitchen", ("p0", "p1")), ("b", "Hallway", ("p2",)))]  # fmt: skip
    ranked = np.array([[0, 5, 1, *(n for n in range(12) if n not in (0, 5, 1))], [*range(3, 12), 0, 1, 2]])
    found = figures_of(ranked, asked, ids)
    first = (1 + 2 / 3) / 2
    assert found["mAP"] == pytest.approx(100 * (first + 1 / 12) / 2)
    assert found["mAP@10"] == found["p1m_normalised/mAP@10"] == pytest.approx(100 * first / 2)
    assert found["R@10"] == 50
    assert found["R@50"] == 100
    assert found["type/Kitchen/p1m_normalised/mAP@10"] == pytest.approx(100 * first)
    assert found["type/Hallway/p1m_script/mAP@10"] == 0


def test_protocol_2_writes_the_contract_and_a_report(ikea_set: Path, tmp_path: Path) -> None:
    out, pages = tmp_path / "2.json", tmp_path / "pages"
    options = ["--data", str(ikea_set), "--protocol", "2", "--encoders", "clip_style_tiny", "--epochs", "1"]
    options += ["--seeds", "2", "--work", str(tmp_path / "work"), "--out", str(out), "--report", str(pages)]
    assert quality.main(options) == 0
    document = json.loads(out.read_text())
    metrics = {row["metric"] for row in document["results"]}
    wanted = {f"{kind}/{form}/{name}@{n}" for kind in ("room", "room+type") for form in ("p1m_script", "p1m_normalised")
              for name in ("mAP", "mAR", "Prec") for n in (10, 50, 100)}  # fmt: skip
    wanted |= {
        f"room/{name}" for name in ("mAP", "mAP@10", "R@10", "R@50", "nDCG@10", "type/Kitchen/p1m_script/mAP@10")
    }
    assert wanted | {f"room/by_{name}/R@10" for name in ("item", "picture", "text")} <= metrics
    assert all(0 <= row["value"] <= 100 for row in document["results"])
    assert document["chosen"]["clip_style_tiny"]["room"]["method"] == "whole"
    assert {row["metric"] for row in document["validation"]} == {"p1m_script/mAP@10"}
    page = (pages / "quality-2.md").read_text(encoding="utf-8")
    assert "| clip_style_tiny |" in page
    assert " ± " in page
    assert (pages / "quality-2.png").read_bytes().startswith(b"\x89PNG")
    assert report([str(out), str(out), "--report", str(tmp_path / "again")]) == 0  # files of one protocol join
    options[options.index("--seeds") + 1] = "1"
    assert quality.main(options) == 0
    assert json.loads(out.read_text())["budget"]["trainings"][0]["unchanged"]


def test_a_report_needs_figures_of_one_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        document = {"budget": {"protocol": number, "trainings": []}, "results": [], "chosen": {}}
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    files = [str(tmp_path / "1.json"), str(tmp_path / "2.json")]
    assert report([*files, "--report", str(tmp_path)]) == 2
    assert report([files[0], "--report", str(tmp_path)]) == 2
    assert report([str(tmp_path / "none.json"), "--report", str(tmp_path)]) == 2
    assert "several protocols" in capsys.readouterr().out
