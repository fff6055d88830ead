"""Pictures of several products: which regions get a row, and that rows which are out of date go. On both graph engines;
the encoder has a detector that finds what stands out from a plain background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from encoders.protocol import Regions
from kg.errors import BadInput
from kg.regions import split_region
from kg.stores import Stores
from kg.vectors import generations
from tests.shop import put, remove
from tests.tiny_encoder import TinyEncoder, write_tiny
from workers.jobs import Job, get_job, list_jobs, submit_embed
from workers.rows import Item, RegionRule, rows_of
from workers.stages import Stages
from workers.tasks import step
from workers.tasks.embed import embed_step

SIZE = (200, 120)
RED, GREEN, BLUE = (10, 10, 60, 60), (80, 20, 120, 100), (130, 70, 190, 110)
Open = Callable[..., Stores]


def scene(path: Path, boxes: Sequence[tuple[int, int, int, int]]) -> Path:
    """Rectangles of different colours on white."""
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    for box, colour in zip(boxes, ("red", "green", "blue"), strict=False):
        pen.rectangle((*box[:2], box[2] - 1, box[3] - 1), fill=colour)
    image.save(path)
    return path


@pytest.fixture
def opened(stores: Stores) -> Open:
    """The stores with small chunks and some settings of one's own."""

    def with_settings(**values: object) -> Stores:
        update = {"embed_chunk": 3, "encode_batch": 2, "embed_regions": 5, "embed_region_score": 0.01, **values}
        return Stores(stores.settings.model_copy(update=update), stores.graph, stores.vectors_uri)

    return with_settings


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny", detector=True)


def run(stores: Stores, checkpoint: Path) -> Job:
    job = submit_embed(stores, checkpoint)
    while not get_job(stores, job.id).over:
        step(stores, job.id, embed_step)
    return get_job(stores, job.id)


def images(stores: Stores, generation: str) -> dict[str, np.ndarray]:
    """Instance or region id → vector."""
    name = generations.get(stores, generation).collections("skugraph")["image"]
    return {
        i: v for batch in stores.vectors.fetch_all(name) for i, v in zip(batch.instance_ids, batch.vectors, strict=True)
    }


def ids(product: str, *boxes: tuple[int, int, int, int]) -> set[str]:
    return {f"{product}#img0", *(f"{product}#img0#{','.join(map(str, box))}" for box in boxes)}


def test_each_region_has_the_vector_of_what_it_shows(opened: Open, checkpoint: Path, tmp_path: Path) -> None:
    stores = opened()
    picture = scene(tmp_path / "scene.png", [RED, GREEN, BLUE])
    put(stores.graph, "p1", pictures=[picture], price=3)
    job = run(stores, checkpoint)
    assert (job.state, job.done, job.rejected) == ("done", 1, 0)
    found = images(stores, job.generation)
    assert set(found) == ids("p1", RED, GREEN, BLUE)
    encoder = TinyEncoder()
    with Image.open(picture) as image:
        for name, vector in found.items():
            crop = image.crop(split_region(name)[1] or (0, 0, *SIZE))
            np.testing.assert_allclose(vector, encoder.encode_images([crop])[0], atol=1e-6)


def test_only_what_tells_more_than_the_whole_picture(opened: Open, checkpoint: Path, tmp_path: Path) -> None:
    stores = opened(embed_regions=1)
    put(stores.graph, "many", pictures=[scene(tmp_path / "many.png", [RED, GREEN, BLUE])])
    put(stores.graph, "boxed", pictures=[scene(tmp_path / "boxed.png", [RED, GREEN])], box=(0, 0, 70, 70))
    put(stores.graph, "full", pictures=[scene(tmp_path / "full.png", [(5, 5, 195, 115)])])
    put(stores.graph, "empty", pictures=[scene(tmp_path / "empty.png", [])])
    put(stores.graph, "none")
    job = run(stores, checkpoint)
    assert (job.state, job.done, job.rejected) == ("done", 5, 0)
    assert set(images(stores, job.generation)) == ids("many", GREEN) | ids("boxed") | ids("full") | ids("empty")
    [text] = [name for kind, name in generations.listing(stores)[0].collections("skugraph").items() if kind == "text"]
    assert stores.vectors.count(text) == 5


def test_regions_that_a_picture_no_longer_has_go(opened: Open, checkpoint: Path, tmp_path: Path) -> None:
    stores = opened()
    picture = scene(tmp_path / "scene.png", [RED, GREEN])
    put(stores.graph, "p1", pictures=[picture])
    put(stores.graph, "p2", pictures=[picture])
    put(stores.graph, "p3", pictures=[picture])
    run(stores, checkpoint)
    put(stores.graph, "p1", title="Other", pictures=[scene(tmp_path / "other.png", [BLUE])])
    remove(stores.graph, "p2")
    job = run(stores, checkpoint)
    assert (job.state, job.done) == ("done", 2)
    assert set(images(stores, job.generation)) == ids("p1", BLUE) | ids("p3", RED, GREEN)
    assert run(stores, checkpoint).done == 0, "nothing changed, nothing done"


def test_a_generation_has_one_rule(opened: Open, checkpoint: Path, tmp_path: Path) -> None:
    put(opened().graph, "p1", pictures=[scene(tmp_path / "scene.png", [RED, GREEN, BLUE])])
    counts = {}
    for values in ({"embed_regions": 0}, {"embed_regions": 2}, {"embed_regions": 5}, {"embed_region_score": 0.34}):
        stores = opened(**values)
        generation = run(stores, checkpoint).generation
        counts[generation] = len(images(stores, generation))
        assert run(stores, checkpoint).generation == generation
    assert list(counts.values()) == [1, 3, 4, 2]
    assert [g.regions != "" for g in generations.listing(opened())] == [False, True, True, True]
    assert next(iter(counts)) == f"g{TinyEncoder(detector=True).fingerprint[:10]}", "as before there were regions"


def test_an_encoder_without_a_detector(opened: Open, tmp_path: Path) -> None:
    stores, blind = opened(), write_tiny(tmp_path / "blind")
    with pytest.raises(BadInput, match=r"embed_regions = 5, but the encoder in .*blind has no detector"):
        submit_embed(stores, blind)
    assert list_jobs(stores) == []
    # Submitted where the settings ask for none, done where they do.
    job = submit_embed(opened(embed_regions=0), blind)
    with pytest.raises(BadInput, match="has no detector"):
        step(stores, job.id, embed_step)
    assert "has no detector" in get_job(stores, job.id).error
    assert generations.listing(stores) == []


class Astray(TinyEncoder):
    """Its detector leaves the picture."""

    def propose(self, images: Sequence[Image.Image], *, limit: int = 36) -> list[Regions]:
        return [Regions(np.array([[0, 0, 300, 50]], np.float32), np.ones(1, np.float32)) for _ in images]


def test_a_detector_that_leaves_the_picture_is_an_error_that_names_it() -> None:
    from kg.errors import BadVector
    from kg.feed import Change, Instance

    item = Item("image", Change("p1", 1), Instance("p1#img0", "image"), Image.new("RGB", SIZE))
    with pytest.raises(BadVector, match=r"of p1#img0 lies outside of its picture of 200x120"):
        rows_of([item], Astray(detector=True), RegionRule(Astray(detector=True), 5, 0), Stages())
