"""How many products a detector finds, trained on composed scenes; the baseline is the grid of windows.

    python -m benchmarks.regions [--data DIR] [--detector NAME] [--size N] [--quick] [--pictures DIR] --out FILE.json

`--data` is a folder with items.csv and images.zip, as the ikea set has them; without it, the sample catalogue is
rendered. One product in five, by hash, is never pasted in training: the held-out scenes are composed of these alone.
Where there are pictures of several products (rooms.csv: the rooms of validation; the sample's own scenes), the first
proposals are drawn on them. The sample's scenes are rendered otherwise than the composed ones, and their boxes are
known: recall on them says what becomes of a detector that meets pictures of another kind.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.figures import Figure, write_figures
from benchmarks.quality_data import item_of, kept, products_of
from encoders.backbones import picture_backbone
from encoders.data import split_of
from encoders.features import picture_tokens
from encoders.regions.detector import Detector, load_detector, train_detector
from encoders.regions.recall import recall
from encoders.regions.scenes import Opener, Scene, scenes
from encoders.regions.training import TINY, complete
from kg.catalogue.columns import ColumnMap
from kg.sample import write_sample

__all__ = ["Material", "draw", "main", "measure"]

ROOMS = {"fields": {"id": "scene", "title": "room_type", "pictures": "file"}}
MINUTES = 2.0  # to train a detector on two free cores
SHOWN = 8  # proposals drawn on a picture
COLOURS = ("#e6194b", "#f58231", "#ffe119", "#3cb44b", "#42d4f4", "#4363d8", "#911eb4", "#f032e6")


@dataclass(frozen=True)
class Material:
    """What is learned from, and what is asked.

    Attributes:
        name: of the data.
        learned, held: pictures of single products; none is in both.
        real: pictures of several products, by name, to look at.
        boxes: of `real`, where they are known.
    """

    name: str
    learned: Sequence[Opener]
    held: Sequence[Opener]
    real: dict[str, Opener] = field(default_factory=dict)
    boxes: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def measure(
    material: Material, work: Path, *, detector: str | None = None, quick: bool = False, size: int | None = None
) -> tuple[list[Figure], Detector]:
    """Trains a detector (or opens the one that is named) and sets it against the grid.

    Args:
        material: the pictures.
        work: folder of the detector.
        detector: name or folder; None: one is trained.
        quick: the tiny settings.
        size: scenes to train on, instead of the config's.
    """
    config = complete(TINY if quick else {})
    config["scenes"]["number"] = size or config["scenes"]["number"]
    figures: list[Figure] = []
    if detector is None:
        began = time.process_time()
        report = train_detector(material.learned, work, config=config)
        whole = sum(report.seconds.values())
        figures += [Figure(f"training, {stage}", value, "s") for stage, value in report.seconds.items()]
        goal = f"at most {MINUTES:g} min on two free cores"
        figures.append(Figure("training, processor time", time.process_time() - began, "s"))  # whoever else computes
        figures.append(Figure("training, all", whole, "s", goal=goal, met=whole <= 60 * MINUTES))
    tested, grid = load_detector(detector or work), load_detector("grid")
    number = min(2 * config["scenes"]["held_out"], config["scenes"]["number"])
    asked = list(scenes(material.held, number=number, size=config["picture"]["size"], seed=1))
    figures += _recalls("held-out scenes", tested, grid, [s.image for s in asked], [s.boxes for s in asked])
    if material.boxes:
        pictures = [material.real[name]() for name in material.boxes]
        figures += _recalls("rendered scenes", tested, grid, pictures, list(material.boxes.values()))
    return [*figures, _cost(tested, asked, config)], tested


def _recalls(
    what: str,
    tested: Detector,
    grid: Detector,
    pictures: Sequence[Image.Image],
    boxes: Sequence[NDArray[np.float32]],
) -> list[Figure]:
    ours, plain = (recall([r.boxes for r in d.propose(pictures, limit=100)], boxes) for d in (tested, grid))
    return [
        Figure(f"{what}, {name}, IoU .5", value, "share of boxes", plain[name], "above the grid", value > plain[name])
        for name, value in ours.items()
    ]


def _cost(tested: Detector, asked: Sequence[Scene], config: dict[str, Any]) -> Figure:
    """What proposals cost beside the backbone pass that an encoder needs anyway."""
    backbone = picture_backbone(config["picture"]["backbone"], size=config["picture"]["size"])
    pictures = [scene.image for scene in asked[:32]]
    tokens = picture_tokens(backbone, pictures)
    shared = tokens if tested.backbone == backbone.fingerprint else None
    alone = min(_seconds(lambda: picture_tokens(backbone, pictures)) for _ in range(3))
    spent = min(_seconds(lambda: tested.propose(pictures, tokens=shared)) for _ in range(3))
    each = 1000 / len(pictures)
    return Figure("proposals of a picture; baseline: its backbone pass", spent * each, "ms", alone * each)


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def draw(image: Image.Image, boxes: NDArray[np.float32], *, shown: int = SHOWN) -> Image.Image:
    """The picture with its first boxes, the best first in the order of `COLOURS`, numbered from 1."""
    out = image.copy()
    pen, width = ImageDraw.Draw(out), max(2, round(max(image.size) / 200))
    for place in reversed(range(min(shown, len(boxes)))):
        colour = COLOURS[place % len(COLOURS)]
        x1, y1, x2, y2 = (float(v) for v in boxes[place])
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=width)
        pen.rectangle((x1, y1, x1 + 13, y1 + 13), fill=colour)
        pen.text((x1 + 4, y1 + 1), str(place + 1), fill="black")
    return out


def outlines(image: Image.Image) -> Image.Image:
    """A line drawing of a photo: shows what the boxes are around where the photo itself must not be published."""
    grey = cv2.GaussianBlur(np.asarray(image.convert("L")), (0, 0), 1.0)
    return Image.fromarray(255 - cv2.Canny(grey, 40, 110) // 2).convert("RGB")


def sheet(pictures: Sequence[Image.Image], *, columns: int = 4, width: int = 320) -> Image.Image:
    """Pictures side by side, each in a cell of the same size."""
    cell = width, max(round(p.height * width / p.width) for p in pictures)
    out = Image.new("RGB", (cell[0] * columns, cell[1] * -(-len(pictures) // columns)), "white")
    for place, picture in enumerate(pictures):
        small = picture.resize((width - 6, round(picture.height * (width - 6) / picture.width)))
        out.paste(small, (place % columns * cell[0], place // columns * cell[1]))
    return out


def from_folder(data: Path, quick: bool) -> Material:
    """A folder of the ikea set's layout; rooms of validation only."""
    items = [item_of(data, p) for p in products_of(data, "items.csv", "ikea")]
    if quick:
        items = [item for item in items if kept(item.id)]
    real: dict[str, Opener] = {}
    if (data / "rooms.csv").is_file():
        rooms = [item_of(data, p) for p in products_of(data, "rooms.csv", ColumnMap.parse(ROOMS))]
        real = {room.id: room.open_picture for room in rooms if split_of(room.key) == "val"}
    return Material(
        data.name,
        [item.open_picture for item in items if item.part != "test"],
        [item.open_picture for item in items if item.part == "test"],
        real,
    )


def from_sample(folder: Path, quick: bool) -> Material:
    """The sample catalogue; views of one product fall into the same part."""
    paths = write_sample(folder, products=60 if quick else 240)
    listings = products_of_sample(paths.table, paths.images)
    scenes_of = [json.loads(line) for line in paths.scenes.read_text(encoding="utf-8").splitlines()]
    return Material(
        "sample",
        [opener for key, opener in listings if split_of(key) != "test"],
        [opener for key, opener in listings if split_of(key) == "test"],
        {s["image"]: lambda name=s["image"]: Image.open(paths.images / name).convert("RGB") for s in scenes_of},  # type: ignore[misc]
        {s["image"]: np.array([i["box"] for i in s["instances"]], np.float32) for s in scenes_of},
    )


def products_of_sample(table: Path, images: Path) -> list[tuple[str, Opener]]:
    """Key and picture of each listing that has a picture of its own."""
    known = ColumnMap.load(table.with_name("map.toml"))
    found: list[tuple[str, Opener]] = []
    for product in products_of(table.parent, table.name, known):
        name = product.pictures[0].uri
        if not name.startswith("scenes/"):
            found.append((product.identity, lambda name=name: Image.open(images / name).convert("RGB")))  # type: ignore[misc]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.regions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--data", type=Path, help="folder with items.csv and images.zip; default: the sample")
    parser.add_argument("--detector", help="folder, or a detection model of transformers; default: one is trained")
    parser.add_argument("--size", type=int, help="scenes to train on")
    parser.add_argument("--quick", action="store_true", help="the tiny settings")
    parser.add_argument("--pictures", type=Path, help="folder for pictures with the proposals drawn")
    parser.add_argument("--outlines", action="store_true", help="draw on outlines instead of the photos")
    parser.add_argument("--work", type=Path, help="folder where the detector is kept")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="regions-") as temporary:
        work = options.work or Path(temporary) / "detector"
        if options.data:
            material = from_folder(options.data, options.quick)
        else:
            material = from_sample(Path(temporary) / "sample", options.quick)
        figures, tested = measure(material, work, detector=options.detector, quick=options.quick, size=options.size)
        write_figures(figures, options.out)
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            drawn = []
            for place, (name, opener) in enumerate(material.real.items()):
                image = opener()
                (regions,) = tested.propose([image])
                drawn.append(draw(outlines(image) if options.outlines else image, regions.boxes))
                drawn[-1].save(options.pictures / f"{place:02}-{Path(name).stem[:40]}.jpg", quality=85)
            if drawn:
                sheet(drawn[:12]).save(options.pictures / "sheet.jpg", quality=80)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
