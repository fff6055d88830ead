"""Another encoder's generation beside the live one, step by step in this process, on both graph engines: what changes
meanwhile is in both, and how it is measured decides whether it is promoted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kg import audit_contents
from kg.audit import audit
from kg.errors import BadInput, EncoderMismatch, GateClosed, JobError, SkugraphError, TooLarge
from kg.settings import Settings
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.events import events
from tests.shop import draw, put, remove
from tests.tiny_encoder import TinyEncoder, write_tiny
from workers import filling
from workers.estimate import check_budget, estimate
from workers.following import behind, follow_others
from workers.jobs import Job, cancel, get_job, list_jobs, pause, resume, submit_embed
from workers.lease import TRIES
from workers.orders import Judged, submit_audit, submit_evaluate, submit_follow, submit_reembed, submit_switch
from workers.shadow import encoder_of, evaluate, rank
from workers.tasks import audit as auditing
from workers.tasks import reembed as reembedding
from workers.tasks import step
from workers.tasks.audit import audit_step
from workers.tasks.embed import embed_step
from workers.tasks.evaluate import evaluate_step
from workers.tasks.follow import follow_step
from workers.tasks.reembed import reembed_step
from workers.tasks.switch import switch_step

STEPS: dict[str, Callable[[Stores, Job], bool]] = {
    "embed": embed_step,
    "follow": follow_step,
    "reembed": reembed_step,
    "evaluate": evaluate_step,
    "audit": audit_step,
    "switch": switch_step,
}
OPPOSITE = 8  # seed of an encoder that is as good as the other, in a space of its own


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    """Eight products of which each has a picture, in chunks of two, with a live generation."""
    settings = stores.settings.model_copy(update={"embed_chunk": 2})
    own = Stores(settings, stores.graph, stores.vectors_uri)
    for n in range(8):
        put(own.graph, f"p{n}", title=f"Candle number {n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    finish(own, submit_embed(own, write_tiny(tmp_path / "old")))
    return own


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "new", seed=OPPOSITE, dim=32)


def finish(stores: Stores, job: Job) -> Job:
    """Take the steps that workers would take, the oldest open job first, until all jobs are over."""
    while open_jobs := [one for one in reversed(list_jobs(stores)) if one.state in ("queued", "running")]:
        for one in open_jobs:
            with contextlib.suppress(SkugraphError):  # it is written into the job
                step(stores, one.id, STEPS[one.kind])
    return get_job(stores, job.id)


def vectors(stores: Stores, generation: str, kind: str = "text") -> dict[str, np.ndarray]:
    name = generations.collection("skugraph", generation, kind)
    return {i: v for b in stores.vectors.fetch_all(name) for i, v in zip(b.instance_ids, b.vectors, strict=True)}


def judged(folder: Path, **gate: Any) -> Judged:
    """Each product is found by its own title; gates where they are given."""
    (folder / "q.tsv").write_text("".join(f"q{n}\tcandle number {n}\n" for n in range(8)))
    (folder / "qrels").write_text("".join(f"q{n} 0 p{n} 1\n" for n in range(8)))
    if gate:
        (folder / "gates.json").write_text(json.dumps({"gates": [gate]}))
    return Judged(str(folder / "q.tsv"), str(folder / "qrels"), str(folder / "gates.json") if gate else "", k=5)


def set_to(stores: Stores, **values: Any) -> Stores:
    settings: Settings = stores.settings.model_copy(update=values)
    return Stores(settings, stores.graph, stores.vectors_uri)


def test_what_changes_meanwhile_is_in_both_generations(
    stores: Stores, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "STEP_S", 0.0)  # a step is one chunk
    old = generations.live_id(stores)
    job = submit_reembed(stores, new)
    step(stores, job.id, reembed_step)
    half = generations.get(stores, get_job(stores, job.id).generation)
    assert (half.state, half.cursor) == ("building", 2)
    put(stores.graph, "p0", title="Lamp number 0")  # embedded already in both
    put(stores.graph, "p7", title="Lamp number 7")  # only in the old one
    put(stores.graph, "p9", title="Lamp number 9", pictures=[draw(tmp_path / "9.png", 9)])
    remove(stores.graph, "p1")
    step(stores, job.id, reembed_step)
    follow = next(one for one in list_jobs(stores) if one.kind == "follow")
    assert (follow.target, follow.state) == (old, "queued"), "the live one is behind, and gets a job at the next step"
    assert finish(stores, job).state == "done"
    assert generations.live_id(stores) == old, "nothing was promoted"
    for name, seed, dim in ((old, 7, 64), (half.id, OPPOSITE, 32)):
        found, encoder = vectors(stores, name), TinyEncoder(seed=seed, dim=dim)
        assert sorted(found) == [f"p{n}#txt" for n in (0, 2, 3, 4, 5, 6, 7, 9)]
        for n, title in ((0, "Lamp number 0"), (7, "Lamp number 7"), (5, "Candle number 5"), (9, "Lamp number 9")):
            np.testing.assert_allclose(found[f"p{n}#txt"], encoder.encode_texts([title])[0], atol=1e-6)
        assert "p1#img0" not in vectors(stores, name, "image")
    # In the shadow it stays fresh: whichever embeds a change first, the other follows.
    for target in (old, half.id):
        put(stores.graph, "p2", title=f"Jar for {target}")
        finish(stores, submit_follow(stores, target))
        assert behind(stores) == []
    switching.promote(stores, half.id)
    put(stores.graph, "p3", title="Jar number 3")
    finish(stores, submit_follow(stores, half.id))
    assert behind(stores) == [], "the one to go back to follows as well"
    assert switching.rollback(stores).id == old
    report = audit(stores)
    assert (report.open, report.behind) == (0, {old: 0, half.id: 0})


def test_pause_resume_and_cancel_hold(stores: Stores, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "STEP_S", 0.0)
    job = submit_reembed(stores, new)
    step(stores, job.id, reembed_step)
    pause(stores, job.id)
    step(stores, job.id, reembed_step)
    assert (get_job(stores, job.id).state, get_job(stores, job.id).done) == ("paused", 2)
    with pytest.raises(JobError, match="with other options"):
        submit_reembed(stores, new, promote=True)
    resume(stores, job.id)
    step(stores, job.id, reembed_step)
    cancel(stores, job.id)
    step(stores, job.id, reembed_step)
    cancelled = get_job(stores, job.id)
    assert (cancelled.state, cancelled.done) == ("cancelled", 4)
    assert generations.get(stores, cancelled.generation).state == "building"
    rest = finish(stores, submit_reembed(stores, new))
    assert (rest.state, rest.done) == ("done", 4), "it goes on where the other stopped"


def test_estimated_first_and_refused_over_a_budget(stores: Stores, new: Path) -> None:
    before = stores.vectors.collections()
    found = estimate(stores, new)
    encoder = TinyEncoder(seed=OPPOSITE, dim=32)
    assert (found.generation, found.state, found.dim) == (f"g{encoder.fingerprint[:10]}", "new", 32)
    assert (found.products, found.vectors) == (8, 16)
    assert found.measured == "a sample of 8 products"
    assert found.seconds == pytest.approx(8 / found.rate)
    assert 16 * 32 * 4 < found.bytes < 16 * (32 * 4 + 1000)
    check_budget(found, seconds=found.seconds + 1, bytes=found.bytes)
    with pytest.raises(TooLarge, match=rf"would take .* s, and may take {found.seconds / 2:,.1f}"):
        check_budget(found, seconds=found.seconds / 2)
    with pytest.raises(TooLarge, match=rf"16 vectors of 32 dimensions, {found.bytes:,} bytes, and may make 100"):
        check_budget(found, bytes=100)
    assert stores.vectors.collections() == before
    assert len(generations.listing(stores)) == 1
    put(stores.graph, "p0", title="Lamp")
    again = estimate(stores, Path(generations.listing(stores)[0].encoder_path))
    assert (again.state, again.products, again.vectors) == ("live", 1, 1), "p0 has lost its picture"


def test_a_picture_that_cannot_be_read_is_in_no_estimate(stores: Stores, new: Path, tmp_path: Path) -> None:
    (tmp_path / "3.png").write_bytes(b"torn")
    found = estimate(stores, new)
    assert (found.products, found.vectors) == (8, 15)


def test_a_better_or_equal_encoder_is_promoted_and_all_is_kept(stores: Stores, new: Path, tmp_path: Path) -> None:
    old = generations.live_id(stores)
    job = submit_reembed(stores, new, judged=judged(tmp_path, metric="MRR", loss=0.2), promote=True, by="ann@desk")
    done = finish(stores, job)
    assert (done.state, done.error) == ("done", "")
    live = generations.live(stores)
    assert live is not None
    assert (live.id, live.previous) == (done.generation, old)
    kept = live.json()["evaluation"]
    assert (kept["against"], kept["queries"], kept["passed"], kept["failed"]) == (old, 8, True, [])
    assert set(kept["metrics"]) == {"live", "shadow"}
    whole = json.loads((stores.home.log / f"{job.id}.json").read_text())
    assert whole["groups"]["brand"]["brand:aurora"]["queries"] == 8
    assert whole["groups"]["category"]["category:home"]["shadow"]["MRR"] == kept["metrics"]["shadow"]["MRR"]
    assert (events(stores, live.id)[0].by, events(stores, live.id)[0].forced) == ("ann@desk", False)


def test_much_that_changes_while_it_is_measured_is_caught_up_with_and_it_is_measured_once(
    stores: Stores, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = set_to(stores, rollback_max_stale=2)
    measured = []

    def changing(stores: Stores, generation: str, *args: Any, **options: Any) -> dict[str, Any]:
        measured.append(generation)
        found = evaluate(stores, generation, *args, **options)
        for n in range(3):
            put(stores.graph, f"p{n}", title=f"Lamp number {n}")
        return found

    monkeypatch.setattr(reembedding, "evaluate", changing)
    job = submit_reembed(few, new, judged=judged(tmp_path, metric="MRR", loss=0.2), promote=True)
    done = finish(few, job)
    assert (done.state, done.error, done.stage) == ("done", "", "")
    assert measured == [done.generation]
    assert (generations.live_id(stores), behind(stores)) == (done.generation, [])


def test_a_worker_killed_before_it_made_the_generation_that_its_job_names(
    stores: Stores, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise JobError("killed")

    job = submit_reembed(stores, new)
    with monkeypatch.context() as patched:
        patched.setattr(generations, "register", killed)
        with pytest.raises(JobError, match="killed"):
            step(stores, job.id, reembed_step)
    named = resume(stores, job.id).generation
    assert named not in {"", *(one.id for one in generations.listing(stores))}
    assert finish(stores, job).state == "done"
    assert generations.get(stores, named).state == "shadow"


@pytest.mark.parametrize("scope", ["overall", "category", "brand"])
def test_a_worse_encoder_stays_in_the_shadow(stores: Stores, tmp_path: Path, scope: str) -> None:
    old = generations.live_id(stores)
    worse = write_tiny(tmp_path / "worse", seed=3, dim=1)  # every vector is 1 or -1
    asked = judged(tmp_path, metric="hit@1", loss=0.1, scope=scope)
    done = finish(stores, submit_reembed(stores, worse, judged=asked, promote=True))
    assert done.state == "failed"
    assert "hit@1" in done.error
    assert "must be" in done.error
    assert generations.live_id(stores) == old
    shadow = generations.get(stores, done.generation)
    assert (shadow.state, shadow.json()["evaluation"]["passed"]) == ("shadow", False)
    with pytest.raises(GateClosed, match="hit@1"):
        switching.promote(stores, shadow.id)
    forced = submit_switch(stores, "promote", shadow.id, force=True, reason="to be seen", by="ann")
    assert finish(stores, forced).state == "done"
    event = events(stores)[0]
    assert (event.forced, event.by, event.figures["passed"]) == (True, "ann", False)
    assert finish(stores, submit_switch(stores, "rollback")).state == "done"
    assert generations.live_id(stores) == old
    gone = submit_switch(stores, "retire", shadow.id)
    assert (finish(stores, gone).state, generations.get(stores, shadow.id).state) == ("done", "retired")
    refused = finish(stores, submit_switch(stores, "retire", old))
    assert (refused.state, "is live" in refused.error) == ("failed", True)


def test_an_evaluation_by_itself(stores: Stores, new: Path, tmp_path: Path) -> None:
    shadow = finish(stores, submit_reembed(stores, new)).generation
    with pytest.raises(BadInput, match="is live: only one in the shadow"):
        submit_evaluate(stores, generations.live_id(stores), judged(tmp_path))
    (tmp_path / "other").write_text("q77 0 p1 1\n")
    plain = judged(tmp_path)
    with pytest.raises(BadInput, match="judges none of the queries"):
        submit_evaluate(stores, shadow, Judged(plain.queries, str(tmp_path / "other")))
    done = finish(stores, submit_evaluate(stores, shadow, plain))
    assert (done.state, done.done) == ("done", 8)
    assert generations.get(stores, shadow).json()["evaluation"]["passed"] is None
    assert switching.promote(stores, shadow).state == "live", "no gates, nothing in the way"


def test_what_it_cannot_be_measured_with_is_said_before_it_is_built(stores: Stores, new: Path, tmp_path: Path) -> None:
    plain = judged(tmp_path)
    (tmp_path / "zeros").write_text("q1 0 p1 0\n")
    with pytest.raises(BadInput, match="no product has a grade above 0"):
        submit_reembed(stores, new, judged=Judged(plain.queries, str(tmp_path / "zeros")))
    with pytest.raises(BadInput, match=r"query 'q0' .* has no image \(use = image\)"):
        submit_reembed(stores, new, judged=Judged(plain.queries, plain.qrels, use="image"))
    gated = set_to(stores, generation_gates=tmp_path / "gates.json")
    for asked in (None, plain):
        with pytest.raises(BadInput, match="No such file"):
            submit_reembed(gated, new, judged=asked, promote=True)
    judged(tmp_path, metric="MRR", loss=0.2)
    with pytest.raises(BadInput, match=r"must be measured against the gates .*, with which queries"):
        submit_reembed(gated, new, promote=True)
    assert [job.kind for job in list_jobs(stores)] == ["embed"]
    job = submit_reembed(gated, new, judged=plain, promote=True)
    (tmp_path / "q.tsv").unlink()
    assert finish(gated, job).state == "failed"
    assert len(generations.listing(stores)) == 1, "a worker that does not see the file builds nothing"


def test_an_evaluation_without_gates_opens_none_that_was_shut(stores: Stores, tmp_path: Path) -> None:
    worse = write_tiny(tmp_path / "worse", seed=3, dim=1)
    shut = judged(tmp_path, metric="hit@1", loss=0.1)
    shadow = finish(stores, submit_reembed(stores, worse, judged=shut)).generation
    finish(stores, submit_evaluate(stores, shadow, Judged(shut.queries, shut.qrels, k=5)))
    assert generations.get(stores, shadow).json()["evaluation"]["passed"] is False
    with pytest.raises(GateClosed, match="hit@1"):
        switching.promote(stores, shadow)


def test_gates_that_measured_nothing_are_not_passed(stores: Stores, new: Path, tmp_path: Path) -> None:
    asked = judged(tmp_path, scope="brand", metric="hit@1", loss=1.0, queries=9)  # there are eight
    done = finish(stores, submit_reembed(stores, new, judged=asked, promote=True))
    assert done.state == "failed"
    assert "no category or brand has as many queries as its gates ask for" in done.error


def test_a_checkpoint_that_is_another_one_now_is_an_error_that_names_both(
    stores: Stores, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "STEP_S", 0.0)
    first, second = (TinyEncoder(seed=seed, dim=32).fingerprint for seed in (OPPOSITE, 9))
    job = submit_reembed(stores, new)
    step(stores, job.id, reembed_step)
    write_tiny(new, seed=9, dim=32)
    with pytest.raises(EncoderMismatch, match=rf"{second} .*{first}"):
        step(stores, job.id, reembed_step)
    assert get_job(stores, job.id).state == "failed"
    write_tiny(new, seed=OPPOSITE, dim=32)
    resume(stores, job.id)
    assert finish(stores, job).state == "done"
    shadow = generations.get(stores, get_job(stores, job.id).generation)
    write_tiny(new, seed=9, dim=32)
    put(stores.graph, "p0", title="Lamp")
    with pytest.raises(EncoderMismatch, match=rf"{second} .*{first}"):
        step(stores, submit_follow(stores, shadow.id).id, follow_step)
    for ask in (lambda: encoder_of(stores, shadow), lambda: rank(stores, shadow, TinyEncoder(seed=9, dim=32), [])):
        with pytest.raises(EncoderMismatch, match=rf"{second} .*{first}"):
            ask()
    assert follow_others(stores, "") != [], "the live one is behind as well"
    assert [one.target for one in list_jobs(stores) if one.kind == "follow" and one.state == "queued"] == [
        generations.live_id(stores)
    ], "what failed just now is let be for a while"


def test_an_audit_as_a_job_mends_and_what_it_needs_follows(stores: Stores) -> None:
    live = generations.live_id(stores)
    stores.vectors.delete_rows(f"skugraph_{live}_text", ["p3#txt"])
    looked = finish(stores, submit_audit(stores))
    assert (looked.state, looked.rejected) == ("done", 1)
    mended = finish(stores, submit_audit(stores, repair=True))
    assert (mended.state, mended.rejected) == ("done", 0)
    assert "p3#txt" in vectors(stores, live)
    assert audit(stores).faults.total() == 0
    assert json.loads((stores.home.log / f"{looked.id}.json").read_text())["first"][0]["what"] == "p3#txt"


def test_an_audit_that_outlasts_every_worker_is_given_up(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "SAY_S", 0.0)
    monkeypatch.setattr(auditing.state, "should_stop", 0)  # the worker has been told to end
    job = submit_audit(stores)
    for _ in range(TRIES):
        step(stores, job.id, audit_step)
        assert get_job(stores, job.id).state == "queued", "another begins it anew"
    step(stores, job.id, audit_step)
    failed = get_job(stores, job.id)
    assert (failed.state, failed.error.partition(":")[0]) == ("failed", "given up")
    monkeypatch.undo()
    resume(stores, job.id)
    assert finish(stores, job).state == "done"


def test_an_audit_that_is_cancelled_mends_no_more(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_contents, "PAGE", 2)
    monkeypatch.setattr(auditing, "SAY_S", 0.0)
    live, original = generations.live_id(stores), stores.vectors.rows
    stores.vectors.delete_rows(f"skugraph_{live}_text", [f"p{n}#txt" for n in range(8)])
    job = submit_audit(stores, repair=True)

    def rows(*args: Any) -> list[dict[str, Any]]:
        if get_job(stores, job.id).state == "running":
            cancel(stores, job.id)
        return original(*args)

    monkeypatch.setattr(stores.vectors, "rows", rows)
    step(stores, job.id, audit_step)
    assert get_job(stores, job.id).state == "cancelled"
    assert generations.stale(stores, generations.get(stores, live)) == 2, "the page at hand"


def test_pictures_that_cannot_be_read_are_noted_until_they_can(stores: Stores, tmp_path: Path) -> None:
    live = generations.live_id(stores)
    good = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(b"torn")
    put(stores.graph, "p3", title="Candle number 3", pictures=[tmp_path / "3.png"])
    finish(stores, submit_follow(stores, live))
    report = audit(stores)
    assert (report.faults.total(), report.unreadable) == (0, 1)
    (tmp_path / "3.png").write_bytes(good)
    put(stores.graph, "p3", title="Candle number 3", pictures=[tmp_path / "3.png"])
    finish(stores, submit_follow(stores, live))
    report = audit(stores)
    assert (report.faults.total(), report.unreadable) == (0, 0)
