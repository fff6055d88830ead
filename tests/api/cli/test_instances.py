"""`skugraph instances` as a process: what it prints, the drawn boxes, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from api.drawing import draw_boxes
from kg.stores import Stores
from tests.api.cli.run import answer, skugraph
from tests.api.scenes import fill, scene


def test_each_product_is_printed_with_its_box_and_drawn(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path)
    image, boxes = scene(tmp_path, [3, 0])
    image.save(tmp_path / "shelf.png")
    words = ("instances", "--image", tmp_path / "shelf.png")
    reply = answer(*words, "-k", 1, "--draw", tmp_path / "found.png", settings=stores.settings)
    found = {tuple(one["box"]): one["hits"][0]["product"]["id"] for one in reply["instances"]}
    assert [found[box] for box in boxes] == ["p3", "p0"]
    drawn = np.asarray(Image.open(tmp_path / "found.png").convert("RGB"))
    assert drawn.shape == (120, 400, 3)
    changed = (drawn != np.asarray(image)).any(axis=2)
    for x1, y1, x2, y2 in (tuple(map(int, box)) for box in boxes):
        assert changed[y1, x1:x2].all()
        assert changed[y1:y2, x2 - 1].all()
        assert not changed[y1 + 40 : y2 - 4, x1 + 40 : x2 - 4].any()

    given = [f"--box={','.join(map(str, box))}" for box in boxes[1:]]
    page = skugraph(*words, *given, "-k", "2", "--max-price", "20", settings=stores.settings)
    assert page.returncode == 0, page.stderr
    assert page.stdout.startswith("[1] 114, 17, 178, 81\n  1. Amber pillar candle")
    assert "1 instances" not in page.stdout
    assert "1 instance in 400 x 120 pixels, plan attribute, exact" in page.stdout
    merged = skugraph(*words, "candle", "--merge", "max_score", "--merged-k", "3", settings=stores.settings).stdout
    assert "together, max_score:" in merged
    assert "  1. [" in merged


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "boxes.0 = (9.0, 5.0, 5.0, 9.0): a box is x1, y1, x2, y2"),
        (("--box", "1,2,3"), "--box '1,2,3': give it as x1,y1,x2,y2 in pixels"),
        (("--merge", "best"), "merge: Input should be 'round_robin', 'max_score' or 'mean_top'"),
        (("-k", "0"), "k: Input should be greater than or equal to 1"),
        (("--draw", "out.doc"), "--draw out.doc: pictures are not written as '.doc'"),
        (("--image", "no-such.jpg"), "--image no-such.jpg: No such file or directory"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path: Path, args: tuple[str, ...], says: str) -> None:
    (tmp_path / "home").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    words = ("instances", "--image", tmp_path / "a.png", *args, *(() if args else ("--box", "9,5,5,9")))
    done = skugraph(*words, "--home", tmp_path / "home", "--json")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert says in json.loads(done.stdout)["error"]["message"].replace("[", "(").replace("]", ")")


def test_a_small_picture_is_enlarged_so_that_numbers_leave_it_visible() -> None:
    drawn = draw_boxes(Image.new("RGB", (40, 20)), [(1, (0.0, 0.0, 40.0, 20.0)), (12, (3.0, 3.0, 3.5, 3.5))])
    assert drawn.size == (320, 160)
    assert draw_boxes(Image.new("RGB", (1, 5000)), [(1, (0.0, 0.0, 1.0, 5000.0))]).size == (1, 5000)
    for size, box in (((1, 5000), (0.1, 3.0, 0.6, 90.0)), ((400, 400), (3.0, 3.0, 3.5, 3.5))):
        drawn = draw_boxes(Image.new("RGB", size), [(1, box)])
        assert drawn.size == size
        assert np.asarray(drawn).any()


def test_a_format_that_does_not_hold_the_picture(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path)
    Image.new("RGB", (2, 17_000), "red").save(tmp_path / "long.png")
    words = ("instances", "--image", tmp_path / "long.png", "--draw", tmp_path / "out.webp", "--json")
    done = skugraph(*words, settings=stores.settings)
    assert done.returncode == 2
    assert "16383" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr
