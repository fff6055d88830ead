"""Stages that overlap across chunks: what goes wrong in one keeps all later chunks from counting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kg.catalogue.pictures import Pictures
from kg.errors import BadVector
from kg.feed import changes
from kg.stores import Stores
from kg.vectors import generations
from tests.shop import draw, put
from tests.tiny_encoder import TinyEncoder, write_tiny
from workers import embedding, filling
from workers.embedding import Chunk, Reject, embed_chunks
from workers.jobs import get_job, pause, resume, submit_embed
from workers.stages import Stages
from workers.tasks import step
from workers.tasks.embed import embed_step

KINDS = ("image", "text")
BAD = "Candle number 5"


class Fails(TinyEncoder):
    """Gives no vector for one text."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = super().encode_texts(texts)
        rows[[text == BAD for text in texts]] = np.nan
        return rows


class Small(TinyEncoder):
    """Sees pictures as squares of 8 pixels, and says so; notes what it was given."""

    side = 8

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def shrink(self, image: Image.Image) -> Image.Image:
        return image.convert("RGB").resize((8, 8))

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        self.seen += [image.size for image in images]
        return super().encode_images(images)


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    """Eight products in four chunks."""
    own = Stores(stores.settings.model_copy(update={"embed_chunk": 2}), stores.graph, stores.vectors_uri)
    for n in range(8):
        put(own.graph, f"p{n}", title=f"Candle number {n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    return own


def ids(stores: Stores, collection: str) -> set[str]:
    return {name for batch in stores.vectors.fetch_all(collection) for name in batch.instance_ids}


def chunks(stores: Stores) -> list[Chunk]:
    found, after = [], 0
    while some := changes(stores.graph, after, 2):
        found.append(Chunk(after, some))
        after = some[-1].revision
    return found


def test_a_chunk_that_cannot_be_written_stops_all_that_follow(stores: Stores, tmp_path: Path) -> None:
    encoder, pictures, counted = Fails(), Pictures.from_settings(stores.settings), []
    names = {kind: f"skugraph_gtest_{kind}" for kind in KINDS}
    for name in names.values():
        stores.vectors.create(name, encoder.dim)

    def commit(chunk: Chunk, rejects: Sequence[Reject]) -> bool:
        counted.append(chunk.changes[-1].revision)
        return True

    with pytest.raises(BadVector, match=r"p5#txt .* not finite"):
        embed_chunks(chunks(stores), encoder, stores.vectors, names, pictures, batch=2, commit=commit)
    assert counted == [2, 4], "p4 and p5 are the third chunk; nothing after it may count"


def test_the_cursor_waits_before_what_failed_and_goes_on_from_there(stores: Stores, tmp_path: Path) -> None:
    checkpoint = write_tiny(tmp_path / "tiny")
    job = submit_embed(stores, checkpoint)
    original = stores.vectors.upsert

    def upsert(collection: str, rows: Sequence[dict[str, object]]) -> int:
        if any(row["instance_id"] == "p5#img0" for row in rows):
            raise BadVector("a store that refuses p5#img0")
        return original(collection, rows)

    stores.vectors.upsert = upsert  # type: ignore[method-assign,assignment]
    with pytest.raises(BadVector, match="refuses"):
        step(stores, job.id, embed_step)
    stores.vectors.upsert = original  # type: ignore[method-assign]
    failed = get_job(stores, job.id)
    assert (failed.state, failed.done) == ("failed", 4)
    assert generations.listing(stores)[0].cursor == 4
    resume(stores, job.id)
    step(stores, job.id, embed_step)
    done = get_job(stores, job.id)
    assert (done.state, done.done, done.error) == ("done", 8, "")
    live = generations.live(stores)
    assert live is not None
    assert ids(stores, live.collections("skugraph")["image"]) == {f"p{n}#img0" for n in range(8)}


def test_a_pause_stops_after_the_chunk_at_hand(stores: Stores, tmp_path: Path) -> None:
    job = submit_embed(stores, write_tiny(tmp_path / "tiny"))
    clock = Stages()

    def work(stores: Stores, job: object) -> bool:
        return embed_step(stores, get_job(stores, name), stages=clock)

    name = job.id
    original = filling.record

    def record(*values: object) -> None:
        if get_job(stores, name).state == "running":
            pause(stores, name)
        original(*values)  # type: ignore[arg-type]

    filling.record = record  # type: ignore[assignment]
    try:
        step(stores, name, work)
    finally:
        filling.record = original
    paused = get_job(stores, name)
    assert paused.state == "paused"
    assert paused.done in (2, 4), "the chunk at hand, and at most the one that was begun"
    assert {"decode", "encode", "upsert", "graph", "pipeline"} <= set(clock.wall)
    resume(stores, name)
    step(stores, name, work)
    assert get_job(stores, name).done == 8


def test_others_have_their_turn(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "STEP_S", 0.0)
    job = submit_embed(stores, write_tiny(tmp_path / "tiny"))
    seen = []
    while not get_job(stores, job.id).over:
        step(stores, job.id, embed_step)
        seen.append(get_job(stores, job.id).done)
    assert seen == [2, 4, 6, 8, 8]


def test_pictures_are_made_small_where_the_encoder_says_so(stores: Stores, tmp_path: Path) -> None:
    encoder, pictures = Small(), Pictures.from_settings(stores.settings)
    stores.vectors.create("skugraph_gsmall_image", encoder.dim)
    names = {"image": "skugraph_gsmall_image"}
    assert embed_chunks(
        chunks(stores), encoder, stores.vectors, names, pictures, batch=3, commit=lambda chunk, rejects: True
    )
    assert encoder.seen == [(8, 8)] * 8
    [found] = stores.vectors.fetch_all("skugraph_gsmall_image")
    with Image.open(tmp_path / "3.png") as image:
        expected = TinyEncoder().encode_images([image])[0]
    np.testing.assert_allclose(found.vectors[found.instance_ids.index("p3#img0")], expected, atol=1e-5)


def test_what_is_kept_is_named_in_groups_that_fit(monkeypatch: pytest.MonkeyPatch, stores: Stores) -> None:
    monkeypatch.setattr(embedding, "KEPT", 3)
    [some] = [chunk.changes for chunk in chunks(stores)][:1]
    written = {change.id: [f"{change.id}#img{n}" for n in range(2)] for change in some}
    groups = list(embedding._kept(some, written))
    assert [len(ids) for ids, _ in groups] == [1, 1]
    assert [kept for _, kept in groups] == list(written.values())
