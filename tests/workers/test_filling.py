"""Filling a generation when something is in the way: another worker, pictures that are away, vectors that are lost. In
this process, on both graph engines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL.Image import Image

from kg.audit import audit
from kg.errors import JobError
from kg.graph.locks import held
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation
from tests.shop import draw, put, remove
from tests.tiny_encoder import TinyEncoder, write_tiny
from workers import filling
from workers.filling import complete, fill
from workers.jobs import Job, get_job, pause, resume, submit_embed
from workers.lease import claim, note
from workers.orders import submit_follow
from workers.tasks import step
from workers.tasks.embed import embed_step
from workers.tasks.follow import follow_step

NO_READ = Path("/proc/self/mem")  # it is there, and reading it fails as a disk or a share does that is away
away = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a file that is there and cannot be read")


class Hooked(TinyEncoder):
    """Does something else once, while it encodes."""

    def __init__(self, hook: Callable[[], None]) -> None:
        super().__init__()
        self.hooks = [hook]

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        while self.hooks:
            self.hooks.pop()()
        return super().encode_images(images)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny")


@pytest.fixture
def live(stores: Stores, checkpoint: Path, tmp_path: Path) -> Generation:
    """Six products of which each has a picture."""
    for n in range(6):
        put(stores.graph, f"p{n}", title=f"Candle number {n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    run(stores, checkpoint)
    found = generations.live(stores)
    assert found is not None
    return found


def run(stores: Stores, checkpoint: Path) -> Job:
    job = submit_embed(stores, checkpoint)
    while not get_job(stores, job.id).over:
        step(stores, job.id, embed_step)
    return get_job(stores, job.id)


def claimed(stores: Stores, job: Job) -> Job:
    found = claim(stores, job.id)
    assert found is not None
    return found


def texts(stores: Stores, generation: Generation) -> dict[str, NDArray[np.float32]]:
    name = generation.collections("skugraph")["text"]
    return {i: v for b in stores.vectors.fetch_all(name) for i, v in zip(b.instance_ids, b.vectors, strict=True)}


def pictures(stores: Stores, generation: Generation) -> set[str]:
    name = generation.collections("skugraph")["image"]
    return {i for batch in stores.vectors.fetch_all(name) for i in batch.instance_ids}


def test_what_a_worker_wrote_that_was_overtaken_is_embedded_again(
    stores: Stores, live: Generation, checkpoint: Path, tmp_path: Path
) -> None:
    """One is away for so long that it loses its place; another does newer changes of the same products. Then the first
    one writes what it had read."""
    first, second = submit_embed(stores, checkpoint), submit_follow(stores, live.id)
    for n in (1, 2, 3):
        put(stores.graph, f"p{n}", title="Old", pictures=[tmp_path / f"{n}.png"])

    def overtake() -> None:
        put(stores.graph, "p1", title="New", pictures=[tmp_path / "1.png"])
        remove(stores.graph, "p2")
        stores.graph.write("MATCH (c:Counter) WHERE c.holder IS NOT NULL SET c.until = 0")
        assert fill(stores, claimed(stores, second), TinyEncoder(), live, None)
        assert "p2#txt" not in texts(stores, live)

    job = claimed(stores, first)
    assert not fill(stores, job, Hooked(overtake), live, None), "there is more to do"
    assert get_job(stores, first.id).done == 0, "another has done it"
    assert fill(stores, job, TinyEncoder(), live, None)
    found = texts(stores, live)
    assert sorted(found) == [f"p{n}#txt" for n in (0, 1, 3, 4, 5)]
    np.testing.assert_allclose(found["p1#txt"], TinyEncoder().encode_texts(["New"])[0], atol=1e-6)
    assert audit(stores).faults.total() == 0


def test_of_two_workers_at_one_generation_one_waits(
    stores: Stores, live: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "BUSY_S", 0.2)
    put(stores.graph, "p1", title="New", pictures=[tmp_path / "1.png"])
    job = submit_follow(stores, live.id)
    with held(stores.graph, f"fill {live.id}"):
        step(stores, job.id, follow_step)
        assert (get_job(stores, job.id).state, get_job(stores, job.id).done) == ("queued", 0)
    step(stores, job.id, follow_step)
    assert (get_job(stores, job.id).state, get_job(stores, job.id).done) == ("done", 1)


def test_a_job_that_another_worker_has_taken_up_is_left_to_it(stores: Stores, live: Generation, tmp_path: Path) -> None:
    own = Stores(stores.settings.model_copy(update={"embed_chunk": 1}), stores.graph, stores.vectors_uri)
    for n in (1, 2, 3):
        put(stores.graph, f"p{n}", title="New", pictures=[tmp_path / f"{n}.png"])
    job = submit_follow(stores, live.id)

    def take() -> None:
        pause(stores, job.id)
        resume(stores, job.id)
        claim(stores, job.id)
        note(stores, job.id, worker="elsewhere 1 1.0")

    assert not fill(own, claimed(stores, job), Hooked(take), live, None)
    now = get_job(stores, job.id)
    assert (now.state, now.worker, now.done) == ("running", "elsewhere 1 1.0", 1), "the chunk at hand counts"


@away
def test_pictures_that_are_all_away_stop_the_job_and_nothing_is_lost(
    stores: Stores, live: Generation, checkpoint: Path, tmp_path: Path
) -> None:
    for n in range(5):
        (tmp_path / f"{n}.png").unlink()
        (tmp_path / f"{n}.png").symlink_to(NO_READ)
        put(stores.graph, f"p{n}", title="Changed", pictures=[tmp_path / f"{n}.png"])
    job = submit_embed(stores, checkpoint)
    with pytest.raises(JobError, match=r"5 of 5 pictures of one chunk cannot be read .*Input/output error"):
        step(stores, job.id, embed_step)
    failed = get_job(stores, job.id)
    assert (failed.state, failed.done) == ("failed", 0)
    assert pictures(stores, live) == {f"p{n}#img0" for n in range(6)}
    for n in range(5):
        (tmp_path / f"{n}.png").unlink()
        draw(tmp_path / f"{n}.png", n)
    resume(stores, job.id)
    step(stores, job.id, embed_step)
    assert (get_job(stores, job.id).state, get_job(stores, job.id).rejected) == ("done", 0)
    assert audit(stores).faults.total() == 0


@away
def test_a_few_that_are_away_for_ever_keep_back_nothing_else(
    stores: Stores, live: Generation, checkpoint: Path, tmp_path: Path
) -> None:
    for n in range(4):
        (tmp_path / f"{n}.png").unlink()
        (tmp_path / f"{n}.png").symlink_to(NO_READ)
        put(stores.graph, f"p{n}", title="Changed", pictures=[tmp_path / f"{n}.png"])
    remove(stores.graph, "p5")
    job = run(stores, checkpoint)
    assert (job.state, job.done, job.rejected) == ("done", 5, 4)
    found = texts(stores, live)
    assert sorted(found) == [f"p{n}#txt" for n in range(5)]
    np.testing.assert_allclose(found["p0#txt"], TinyEncoder().encode_texts(["Changed"])[0], atol=1e-6)
    report = audit(stores, repair=True)
    assert (report.faults.total(), report.unreadable, report.refill) == (0, 4, [live.id]), "they are tried again"


@away
def test_one_that_is_away_is_passed_over_and_tried_again(
    stores: Stores, live: Generation, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "1.png").unlink()
    (tmp_path / "1.png").symlink_to(NO_READ)
    for n in (1, 2):
        put(stores.graph, f"p{n}", title="Changed", pictures=[tmp_path / f"{n}.png"])
    job = run(stores, checkpoint)
    assert (job.state, job.rejected) == ("done", 1)
    assert "p1#img0" not in pictures(stores, live), "what it showed before may be another thing"
    (tmp_path / "1.png").unlink()
    draw(tmp_path / "1.png", 1)
    assert audit(stores).refill == []
    assert audit(stores, repair=True).refill == [live.id]
    assert run(stores, checkpoint).rejected == 0
    assert "p1#img0" in pictures(stores, live)


def test_most_of_many_pictures_are_not_thrown_away(
    stores: Stores, live: Generation, checkpoint: Path, tmp_path: Path
) -> None:
    """A share that is not mounted is an empty folder: each picture by itself looks as if it were gone for good."""
    for n in range(24):
        put(stores.graph, f"p{n}", title="Changed", pictures=[tmp_path / f"{n}.png"])
    job = submit_embed(stores, checkpoint)
    with pytest.raises(JobError, match=r"18 of 24 pictures .*embed_max_unreadable = 0\.5.*No such file"):
        step(stores, job.id, embed_step)
    assert generations.stale(stores, generations.get(stores, live.id)) == 24
    most = Stores(stores.settings.model_copy(update={"embed_max_unreadable": 1.0}), stores.graph, stores.vectors_uri)
    resume(stores, job.id)
    step(most, job.id, embed_step)
    assert (get_job(stores, job.id).state, get_job(stores, job.id).rejected) == ("done", 18)
    assert audit(stores, repair=True).refill == [live.id]
    again = run(stores, checkpoint)
    assert (again.state, again.rejected) == ("done", 18), "what could not be read before stops nothing"


def test_a_vector_of_the_same_content_outlasts_its_picture(
    stores: Stores, live: Generation, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "1.png").write_bytes(b"torn")
    put(stores.graph, "p1", title="Candle number 1", pictures=[tmp_path / "1.png"], price=3.5)
    assert run(stores, checkpoint).rejected == 1
    images = live.collections("skugraph")["image"]
    [row] = stores.vectors.rows(images, ["p1"], ("price", "revision"))
    assert (row["instance_id"], row["price"], row["revision"]) == ("p1#img0", 3.5, 7)
    report = audit(stores, repair=True)
    assert (report.faults.total(), report.unreadable) == (0, 1)


def test_another_generation_cannot_read_it_and_the_live_one_keeps_its_vector(
    stores: Stores, live: Generation, tmp_path: Path
) -> None:
    good = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").unlink()
    run(stores, write_tiny(tmp_path / "new", seed=8))
    (tmp_path / "1.png").write_bytes(good)
    report = audit(stores, repair=True)
    assert (report.faults.total(), report.unreadable, len(report.refill)) == (0, 1, 2)
    assert "p1#img0" in pictures(stores, live)
    for generation in report.refill:
        job = submit_follow(stores, generation)
        while not get_job(stores, job.id).over:
            step(stores, job.id, follow_step)
    assert all("p1#img0" in pictures(stores, one) for one in generations.listing(stores))
    assert audit(stores).unreadable == 0


def test_a_live_generation_whose_vectors_are_lost_is_filled_before_it_is_searched(
    stores: Stores, live: Generation, checkpoint: Path
) -> None:
    stores.vectors.connection.client.drop_alias("skugraph_live")
    for name in live.collections("skugraph").values():
        stores.vectors.drop(name)
    assert run(stores, checkpoint).done == 6
    assert generations.live_id(stores) == live.id
    assert pictures(stores, live) == {f"p{n}#img0" for n in range(6)}
    assert audit(stores).faults.total() == 0


def test_a_lost_alias_is_no_way_around_the_gates(stores: Stores, live: Generation, tmp_path: Path) -> None:
    other = run(stores, write_tiny(tmp_path / "new", seed=8)).generation
    stores.vectors.connection.client.drop_alias("skugraph_live")
    complete(stores, generations.get(stores, other))
    assert generations.live_id(stores) == ""
    complete(stores, generations.get(stores, live.id))
    assert generations.live_id(stores) == live.id, "what the graph says is live may"
