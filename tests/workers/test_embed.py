"""Embedding in this process, step by step, on both graph engines: what lies in the collections after each change."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kg.errors import NotFound
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.client import Fetched
from kg.vectors.generations import Generation
from tests.shop import draw, put, remove
from tests.tiny_encoder import TinyEncoder, write_tiny
from workers.jobs import Job, get_job, submit_embed
from workers.tasks import step
from workers.tasks.embed import embed_step


@pytest.fixture
def stores(stores: Stores) -> Stores:
    """Chunks so small that every test takes several, and all kinds of vectors."""
    settings = stores.settings.model_copy(
        update={"embed_chunk": 3, "encode_batch": 2, "embed_kinds": ("image", "text", "fused")}
    )
    return Stores(settings, stores.graph, stores.vectors_uri)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny")


def run(stores: Stores, checkpoint: Path) -> Job:
    """Submit, and take the steps that a worker would take, until the job is over."""
    job = submit_embed(stores, checkpoint)
    while not get_job(stores, job.id).over:
        step(stores, job.id, embed_step)
    return get_job(stores, job.id)


def contents(stores: Stores, kind: str) -> dict[str, np.ndarray]:
    """Instance id → vector, of the live generation."""
    live = generations.live(stores)
    assert live is not None
    return contents_of(stores, live, kind)


def contents_of(stores: Stores, generation: Generation, kind: str) -> dict[str, np.ndarray]:
    batches: list[Fetched] = list(stores.vectors.fetch_all(generation.collections("skugraph")[kind]))
    return {i: v for b in batches for i, v in zip(b.instance_ids, b.vectors, strict=True)}


def shop(stores: Stores, folder: Path, count: int = 8) -> None:
    """Product n has n % 3 pictures."""
    for n in range(count):
        pictures = [draw(folder / f"{n}-{m}.png", 10 * n + m) for m in range(n % 3)]
        put(stores.graph, f"p{n}", title=f"Candle number {n}", pictures=pictures, price=float(n))


def test_every_instance_gets_the_vector_of_its_content(stores: Stores, checkpoint: Path, tmp_path: Path) -> None:
    shop(stores, tmp_path)
    job = run(stores, checkpoint)
    assert (job.state, job.done, job.total, job.rejected, job.error) == ("done", 8, 8, 0, "")
    live = generations.live(stores)
    assert live is not None
    assert (live.id, live.cursor, generations.stale(stores, live)) == (job.generation, 8, 0)
    encoder = TinyEncoder()
    images, texts, fused = (contents(stores, kind) for kind in ("image", "text", "fused"))
    assert sorted(images) == sorted(f"p{n}#img{m}" for n in range(8) for m in range(n % 3))
    assert sorted(texts) == [f"p{n}#txt" for n in range(8)]
    assert sorted(fused) == ["p1#img0", "p2#img0", "p4#img0", "p5#img0", "p7#img0"]
    with Image.open(tmp_path / "5-1.png") as image:
        np.testing.assert_allclose(images["p5#img1"], encoder.encode_images([image])[0], atol=1e-6)
    np.testing.assert_allclose(texts["p5#txt"], encoder.encode_texts(["Candle number 5"])[0], atol=1e-6)
    with Image.open(tmp_path / "5-0.png") as image:
        np.testing.assert_allclose(fused["p5#img0"], encoder.encode_items([image], ["Candle number 5"])[0], atol=1e-6)


def test_changes_and_removals_are_caught_up_with(stores: Stores, checkpoint: Path, tmp_path: Path) -> None:
    shop(stores, tmp_path)
    run(stores, checkpoint)
    before = contents(stores, "image")
    put(stores.graph, "p5", title="Other", pictures=[tmp_path / "5-1.png"])  # one picture fewer, and another first
    remove(stores.graph, "p2")
    put(stores.graph, "p8", pictures=[draw(tmp_path / "8.png", 80)])
    job = run(stores, checkpoint)
    assert (job.state, job.done) == ("done", 3)
    after = contents(stores, "image")
    assert set(before) - set(after) == {"p5#img1", "p2#img0", "p2#img1"}
    assert set(after) - set(before) == {"p8#img0"}
    np.testing.assert_allclose(after["p5#img0"], before["p5#img1"], atol=1e-6)
    assert "p2#txt" not in contents(stores, "text")
    assert run(stores, checkpoint).done == 0, "nothing changed, nothing done"


def test_a_box_is_cut_out(stores: Stores, checkpoint: Path, tmp_path: Path) -> None:
    picture = draw(tmp_path / "scene.png", 3)
    put(stores.graph, "p1", pictures=[picture], box=(8, 16, 40, 48))
    run(stores, checkpoint)
    with Image.open(picture) as image:
        expected = TinyEncoder().encode_images([image.crop((8, 16, 40, 48))])[0]
    np.testing.assert_allclose(contents(stores, "image")["p1#img0"], expected, atol=1e-6)


def test_broken_pictures_are_recorded_and_the_rest_goes_on(stores: Stores, checkpoint: Path, tmp_path: Path) -> None:
    shop(stores, tmp_path)
    (tmp_path / "4-0.png").write_bytes(b"no picture")
    (tmp_path / "5-1.png").unlink()
    job = run(stores, checkpoint)
    assert (job.state, job.done, job.rejected) == ("done", 8, 2)
    assert set(contents(stores, "image")) == {"p1#img0", "p2#img0", "p2#img1", "p5#img0", "p7#img0"}
    assert len(contents(stores, "text")) == 8
    lines = (stores.home.log / f"{job.id}.rejects.jsonl").read_text(encoding="utf-8").splitlines()
    rejects = {reject["instance"]: reject for reject in map(json.loads, lines)}
    assert set(rejects) == {"p4#img0", "p5#img1"}
    assert "5-1.png" in rejects["p5#img1"]["error"]
    assert rejects["p4#img0"]["product"] == "p4"


def test_a_second_encoder_stays_in_the_shadow(stores: Stores, checkpoint: Path, tmp_path: Path) -> None:
    shop(stores, tmp_path, 4)
    first = run(stores, checkpoint).generation
    second = run(stores, write_tiny(tmp_path / "other", seed=8, dim=32)).generation
    assert {g.id: g.state for g in generations.listing(stores)} == {first: "live", second: "shadow"}
    switching.promote(stores, second)
    assert contents(stores, "text")["p1#txt"].shape == (32,)


def test_a_chunk_that_two_workers_do_counts_once(stores: Stores, tmp_path: Path) -> None:
    shop(stores, tmp_path, 3)
    job = submit_embed(stores, write_tiny(tmp_path / "slow", seconds=0.3))
    with ThreadPoolExecutor(2) as workers:  # slow enough for both to start from the same cursor
        for taken in [workers.submit(step, stores, job.id, embed_step) for _ in range(2)]:
            taken.result()
    assert get_job(stores, job.id).done == 3
    assert len(contents_of(stores, generations.listing(stores)[0], "text")) == 3


def test_a_job_whose_checkpoint_is_broken_fails_and_says_why(stores: Stores, checkpoint: Path) -> None:
    put(stores.graph, "p1")
    job = submit_embed(stores, checkpoint)
    (checkpoint / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(Exception, match="not JSON"):
        step(stores, job.id, embed_step)
    failed = get_job(stores, job.id)
    assert failed.state == "failed"
    assert "not JSON" in failed.error
    assert generations.listing(stores) == []


def test_a_checkpoint_that_is_not_there(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        submit_embed(stores, tmp_path / "nowhere")
