"""What nobody would call a product photo or a caption: every one gives a unit vector or an error that says why, alone,
in a batch and in a worker's job."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import encoders
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.dual import DualEncoder
from encoders.protocol import Encoder, region_encoder
from encoders.training import train
from kg.catalogue.pictures import decode
from kg.errors import BadInput, BadPicture
from kg.regions import split_region
from kg.stores import Stores
from kg.vectors import generations
from tests.shop import put
from workers.jobs import get_job, submit_embed
from workers.tasks import step
from workers.tasks.embed import embed_step

SAME = 2e-5  # Results may depend on the batch by 1e-5 in each number.


def shapes(size: tuple[int, int] = (90, 60)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((size[0] // 8, size[1] // 6, size[0] // 3, size[1] // 2), fill="red")
    pen.ellipse((size[0] // 2, size[1] // 3, size[0] - 4, size[1] - 4), fill="navy")
    return image


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    """A file that is upright only once its EXIF tag is heeded."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file(shapes().transpose(undo[orientation]), exif=exif)


def veiled(colour: str) -> bytes:
    """Shapes that stand free; `colour` lies where everything is transparent."""
    clear = Image.new("L", (90, 60), 0)
    ImageDraw.Draw(clear).rectangle((11, 10, 30, 30), fill=255)
    ImageDraw.Draw(clear).ellipse((45, 20, 86, 56), fill=255)
    image = Image.composite(shapes(), Image.new("RGB", (90, 60), colour), clear)
    image.putalpha(clear)
    return file(image)


GREY16 = np.linspace(0, 65535, 90 * 60).reshape(60, 90).astype(np.uint16)
ODD: dict[str, bytes] = {
    "white": file(Image.new("RGB", (50, 50), "white")),
    "black": file(Image.new("L", (50, 50), 0)),
    "one pixel": file(Image.new("RGB", (1, 1), "red")),
    "high": file(shapes((60, 5000)).resize((1, 5000))),
    "wide": file(shapes((5000, 60)).resize((5000, 1))),
    "wide jpeg": file(shapes((5000, 60)).resize((5000, 1)), "JPEG"),
    "cmyk": file(shapes().convert("CMYK"), "JPEG"),
    "grey 16": file(Image.fromarray(GREY16)),
    "colour 16": cv2.imencode(".png", np.stack([GREY16, GREY16[::-1], GREY16[:, ::-1]], axis=2))[1].tobytes(),
    "float": file(Image.fromarray(GREY16.astype(np.float32) / 65535), "TIFF"),
    "bilevel": file(shapes().convert("1")),
    "animated": file(shapes(), "GIF", save_all=True, append_images=[Image.new("RGB", (90, 60), "green")] * 3),
    "animated webp": file(shapes(), "WEBP", lossless=True, save_all=True, append_images=[shapes().rotate(90)]),
    "alpha": veiled("green"),
    "all transparent": file(Image.new("RGBA", (40, 40), (200, 30, 30, 0))),
    "palette with transparency": file(shapes().convert("P"), transparency=0),
    "grey with alpha": file(shapes().convert("LA")),
    "turned": turned(6),
    "progressive": file(shapes((640, 480)), "JPEG", progressive=True),
}
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "text": b"<html>not found</html>",
    "cut short": file(shapes((640, 480)), "JPEG")[:900],
    "header only": ODD["white"][:40],
}
CAPTIONS = {
    "empty": "",
    "spaces": " \t\n ",
    "long": "candle " * 1429,  # 10,003 characters
    "one word": "x" * 10_000,
    "emoji": "👩‍👩‍👧‍👦🕯️🧴 🇩🇪",
    "mixed scripts": "Candle 蜡烛 شمعة свеча κερί ろうそく 🕯",
    "marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "control": "a\x00b\x07c\u200b\u202e",
    "special tokens": "[CLS] [MASK] [SEP] </s> [PAD]",
}


@pytest.fixture(scope="session")
def captured(items: list[TrainItem], features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CAPTURE, as small as can be, with the grid as its detector."""
    folder = tmp_path_factory.mktemp("captured")
    config = load_config("capture", epochs=1)
    config["picture"] |= {"size": 96, "near": 128, "cells": 2}
    config["detector"] = "grid"
    config["model"] |= {"width": 32, "hidden": 32, "dim": 32, "heads": 2}
    config["training"] |= {"batch": 16, "scenes": 0}
    (folder / "small.json").write_text(json.dumps(config), encoding="utf-8")
    train("capture", items, folder / "out", config=folder / "small.json", device="cpu", cache=features)
    return folder / "out"


@pytest.fixture(scope="session", params=["clip_style", "capture"])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue({"clip_style": "trained", "capture": "captured"}[request.param])
    return folder


@pytest.fixture(scope="session")
def encoder(checkpoint: Path) -> Encoder:
    return encoders.load(checkpoint, device="cpu")


def units(vectors: NDArray[np.float32], shape: tuple[int, int]) -> None:
    assert vectors.shape == shape
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)  # what is not finite fails too


def test_odd_pictures_have_vectors_that_do_not_depend_on_their_neighbours(encoder: Encoder) -> None:
    pictures = [decode(data, name=name) for name, data in ODD.items()]
    together = encoder.encode_images(pictures)
    units(together, (len(ODD), encoder.dim))
    for name, picture, vector in zip(ODD, pictures, together, strict=True):
        np.testing.assert_allclose(encoder.encode_images([picture])[0], vector, atol=SAME, err_msg=name)


def test_pictures_made_small_beforehand_have_the_same_vectors(encoder: Encoder) -> None:
    assert isinstance(encoder, DualEncoder)
    pictures = [decode(data, name=name) for name, data in ODD.items()]
    small = [encoder.shrink(picture) for picture in pictures]
    np.testing.assert_array_equal(encoder.encode_images(small), encoder.encode_images(pictures))
    assert {image.size for image in small} == ({(encoder.side,) * 2} if encoder.side else {p.size for p in pictures})


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_is_what_a_person_sees(encoder: Encoder, orientation: int) -> None:
    picture = decode(turned(orientation), name="turned")
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(shapes()))
    np.testing.assert_array_equal(encoder.encode_images([picture]), encoder.encode_images([shapes()]))


def test_only_what_is_shown_counts(encoder: Encoder) -> None:
    """What lies below full transparency, and later frames, are not there."""
    hidden = [decode(veiled(colour), name=colour) for colour in ("green", "black")]
    vectors = encoder.encode_images([*hidden, shapes()])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert vectors[0] @ vectors[2] > 0.95
    first = decode(ODD["animated webp"], name="animated")
    np.testing.assert_array_equal(np.asarray(first), np.asarray(shapes()))


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pictures_name_themselves(name: str) -> None:
    with pytest.raises(BadPicture, match=f"picture {name}"):
        decode(BROKEN[name], name=name)


def test_odd_captions_have_vectors(encoder: Encoder) -> None:
    together = encoder.encode_texts(list(CAPTIONS.values()))
    units(together, (len(CAPTIONS), encoder.dim))
    for (name, text), vector in zip(CAPTIONS.items(), together, strict=True):
        np.testing.assert_allclose(encoder.encode_texts([text])[0], vector, atol=SAME, err_msg=name)


def test_odd_pairs_have_vectors(encoder: Encoder) -> None:
    pictures = [decode(data, name=name) for name, data in ODD.items()]
    texts = [list(CAPTIONS.values())[n % len(CAPTIONS)] for n in range(len(pictures))]
    units(encoder.encode_items(pictures, texts), (len(pictures), encoder.dim))


def test_nothing_at_all(encoder: Encoder) -> None:
    for found in (encoder.encode_images([]), encoder.encode_texts([]), encoder.encode_items([], [])):
        assert found.shape == (0, encoder.dim)


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((100, 0, 120, 50), "outside"),
        ((0, 60, 90, 70), "outside"),
        ((-30, -30, -1, -1), "outside"),
        ((40, 10, 10, 50), "x1 < x2"),
        ((10, 50, 40, 10), "y1 < y2"),
        ((20, 20, 20, 40), "x1 < x2"),
        ((0, 0, float("nan"), 40), "finite"),
        ((0, 0, float("inf"), 40), "finite"),
    ],
)
def test_boxes_that_cannot_be(encoder: Encoder, box: tuple[float, ...], why: str) -> None:
    assert isinstance(encoder, DualEncoder)
    with pytest.raises(BadInput, match=why):
        encoder.encode_regions([shapes()], [np.array([box], np.float32)])
    if np.isfinite(box).all():
        with pytest.raises(BadPicture, match="lies outside of 90x60"):
            decode(file(shapes()), name="x", box=box)  # type: ignore[arg-type]


def test_boxes_are_cut_at_the_edge(encoder: Encoder) -> None:
    assert isinstance(encoder, DualEncoder)
    inside, over = np.array([[40, 20, 90, 60]], np.float32), np.array([[40, 20, 500, 99]], np.float32)
    [a], [b] = encoder.encode_regions([shapes()], [inside]), encoder.encode_regions([shapes()], [over])
    np.testing.assert_array_equal(a, b)
    units(a, (1, encoder.dim))
    assert decode(file(shapes()), name="x", box=(40, 20, 500, 99)).size == (50, 40)
    cut = decode(file(shapes()), name="x", box=(-5, -5, 20, 20))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(cut), np.asarray(shapes().crop((0, 0, 20, 20))))


def test_regions_of_odd_pictures(encoder: Encoder) -> None:
    if getattr(encoder, "detector", None) is None:
        with pytest.raises(BadInput, match="no detector"):
            region_encoder(encoder)
        return
    seer = region_encoder(encoder)
    pictures = [decode(data, name=name) for name, data in ODD.items()]
    found = seer.propose(pictures)
    for name, picture, regions in zip(ODD, pictures, found, strict=True):
        x1, y1, x2, y2 = regions.boxes.T
        assert regions.boxes.shape == (len(regions.scores), 4), name
        assert ((x1 >= 0) & (x1 < x2) & (x2 <= picture.width)).all(), name
        assert ((y1 >= 0) & (y1 < y2) & (y2 <= picture.height)).all(), name
    vectors = seer.encode_regions(pictures, [regions.boxes for regions in found])
    for regions, matrix in zip(found, vectors, strict=True):
        units(matrix, (len(regions.scores), encoder.dim))


def test_a_job_loses_nothing(stores: Stores, checkpoint: Path, encoder: Encoder, tmp_path: Path) -> None:
    regions = 4 if getattr(encoder, "detector", None) else 0
    update = {"embed_chunk": 7, "encode_batch": 5, "embed_regions": regions, "embed_region_score": 0.0}
    update["embed_kinds"] = ("image", "text", "fused")
    own = Stores(stores.settings.model_copy(update=update), stores.graph, stores.vectors_uri)
    texts = list(CAPTIONS.values())
    for number, (name, data) in enumerate((ODD | BROKEN).items()):
        path = tmp_path / f"{name}.bin"
        path.write_bytes(data)
        put(own.graph, name, title=texts[number % len(texts)].replace("\x00", ""), pictures=[path])
    put(own.graph, "outside", pictures=[tmp_path / "turned.bin"], box=(500, 500, 510, 510))
    put(own.graph, "inside", pictures=[tmp_path / "turned.bin"], box=(10, 10, 40, 50))

    job = submit_embed(own, checkpoint)
    while not get_job(own, job.id).over:
        step(own, job.id, embed_step)
    job = get_job(own, job.id)
    products = [*ODD, *BROKEN, "outside", "inside"]
    assert (job.state, job.done, job.rejected) == ("done", len(products), len(BROKEN) + 1)
    lines = (own.home.log / f"{job.id}.rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert {reject["product"]: bool(reject["error"]) for reject in map(json.loads, lines)} == {
        name: True for name in (*BROKEN, "outside")
    }
    held = {kind: rows(own, job.generation, kind) for kind in ("image", "text", "fused")}
    shown = {f"{name}#img0" for name in (*ODD, "inside")}
    assert {split_region(name)[0] for name in held["image"]} == shown
    assert {name for name in held["image"] if split_region(name)[1] is None} == shown
    assert set(held["fused"]) == shown
    assert set(held["text"]) == {f"{name}#txt" for name in products}
    if regions:
        assert any(split_region(name)[1] for name in held["image"])
    for found in held.values():
        units(np.stack(list(found.values())), (len(found), encoder.dim))


def rows(stores: Stores, generation: str, kind: str) -> dict[str, NDArray[np.float32]]:
    name = generations.get(stores, generation).collections(stores.settings.vectors_prefix)[kind]
    batches = stores.vectors.fetch_all(name)
    return {i: vector for b in batches for i, vector in zip(b.instance_ids, b.vectors, strict=True)}
