from __future__ import annotations

import csv
import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.regions import draw, from_folder, from_sample, main
from encoders.data import split_of
from tests.encoders.regions.conftest import product


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty products and six rooms, in the layout of the ikea set."""
    folder = tmp_path_factory.mktemp("data")
    items = [{"file": f"items/{n}.png", "product_id": str(n), "title": f"thing {n}"} for n in range(40)]
    rooms = [{"file": f"rooms/{n}.png", "scene": f"room {n}", "room_type": "", "product_ids": "1 2"} for n in range(30)]
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for n, row in enumerate([*items, *rooms]):
            content = BytesIO()
            product(n).save(content, "PNG")
            archive.writestr(row["file"], content.getvalue())
    for name, rows in (("items.csv", items), ("rooms.csv", rooms)):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return folder


def test_products_are_learned_from_or_asked_and_only_val_rooms_are_looked_at(data: Path) -> None:
    found = from_folder(data, quick=False)
    assert len(found.learned) + len(found.held) == 40
    assert len(found.held) == sum(split_of(str(n)) == "test" for n in range(40)) > 1
    assert list(found.real) == [f"room {n}" for n in range(30) if split_of(f"room {n}") == "val"]
    assert found.real


def test_figures_and_pictures(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [
        "--data",
        str(data),
        "--size",
        "32",
        "--out",
        str(out),
        "--outlines",
        "--pictures",
        str(tmp_path / "drawn"),
    ]
    assert main([*command, "--detector", "grid"]) == 0
    figures = {figure["name"]: figure for figure in json.loads(out.read_text())["figures"]}
    for depth in (1, 5, 10, 36):
        figure = figures[f"held-out scenes, recall@{depth}, IoU .5"]
        assert figure["value"] == figure["baseline"]
        assert figure["met"] is False
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(drawn) == len(from_folder(data, quick=False).real) + 1  # the sheet of all
    assert Image.open(drawn[0]).size == (120, 120)


@pytest.mark.slow
def test_sample_quickly(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["--quick", "--size", "32", "--out", str(out)]) == 0
    figures = {figure["name"]: figure for figure in json.loads(out.read_text())["figures"]}
    for where in ("held-out scenes", "rendered scenes"):
        values = [figures[f"{where}, recall@{depth}, IoU .5"]["value"] for depth in (1, 5, 10, 36)]
        assert values == sorted(values)
        assert 0 < values[-1] <= 1
    assert figures["training, all"]["value"] > 0
    assert figures["proposals of a picture; baseline: its backbone pass"]["baseline"] > 0


def test_sample_keeps_views_of_a_product_together(tmp_path: Path) -> None:
    found = from_sample(tmp_path, quick=True)
    assert len(found.learned) > len(found.held) > 2
    assert set(found.boxes) == set(found.real)
    for name, boxes in found.boxes.items():
        assert boxes[:, 2:].max(axis=0).tolist() <= list(found.real[name]().size)


def test_drawing_keeps_the_picture() -> None:
    image = Image.new("RGB", (60, 40), "white")
    drawn = draw(image, np.array([[5, 5, 50, 30], [0, 0, 60, 40]], np.float32), shown=1)
    assert drawn.size == image.size
    assert drawn.getpixel((50, 20)) != (255, 255, 255)
    assert drawn.getpixel((0, 39)) == (255, 255, 255)
    assert image.getpixel((50, 20)) == (255, 255, 255)
