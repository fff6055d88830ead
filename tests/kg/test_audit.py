"""The audit finds what was broken on purpose, mends it, and finds nothing the second time; on both graph engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kg import audit_contents as module
from kg.audit import Report, audit, latest
from kg.feed import changes
from kg.graph.cypher.feed import REJECTED
from kg.settings import InstanceKind
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.generations import Generation
from tests.shop import draw, put, remove

CURSOR = "MATCH (g:Generation {id: $id}) SET g.cursor = $cursor"
SHADOW = "MATCH (g:Generation {id: $id}) SET g.state = 'shadow'"
KINDS: tuple[InstanceKind, ...] = ("image", "text")


def vector(name: str) -> np.ndarray:
    return np.random.default_rng(sum(name.encode())).standard_normal(4).astype(np.float32)


def embed(stores: Stores, fingerprint: str = "a" * 16, kinds: tuple[InstanceKind, ...] = KINDS) -> Generation:
    """A generation that knows every change; the first is live."""
    generation = generations.register(
        stores, encoder="random", fingerprint=fingerprint, encoder_path="/models/none", dim=4, kinds=kinds
    )
    collections = generation.collections("skugraph")
    found = changes(stores.graph, generation.cursor, 1000)
    for kind in kinds:
        for change in found:
            own = [one for one in change.instances if one.kind == ("text" if kind == "text" else "image")]
            own = own[:1] if kind == "fused" else own
            stores.vectors.delete_products(collections[kind], [change.id], keep=[one.id for one in own])
            rows = [{**change.fields, "instance_id": one.id, "vector": vector(one.id)} for one in own]
            stores.vectors.upsert(collections[kind], rows)
    if found:
        stores.graph.write(CURSOR, id=generation.id, cursor=found[-1].revision)
    if generation.state == "building":
        stores.graph.write(SHADOW, id=generation.id)
    if generations.live(stores) is None:
        switching.promote(stores, generation.id)
    return generations.get(stores, generation.id)


@pytest.fixture
def live(stores: Stores, tmp_path: Path) -> Generation:
    """Six products with n % 3 pictures each, all embedded."""
    for n in range(6):
        put(stores.graph, f"p{n}", pictures=[draw(tmp_path / f"{n}-{m}.png", 10 * n + m) for m in range(n % 3)])
    return embed(stores)


def faults(report: Report) -> dict[str, int]:
    return {kind: count for kind, count in report.faults.items() if count}


def named(report: Report, kind: str) -> list[str]:
    return sorted(fault.what for fault in report.first if fault.kind == kind)


def clean(stores: Stores) -> None:
    report = audit(stores)
    assert (faults(report), report.open, report.drift) == ({}, 0, 0.0), report.first


def test_stores_that_agree_have_no_faults(stores: Stores, live: Generation) -> None:
    report = audit(stores)
    assert (faults(report), report.behind, report.refill) == ({}, {live.id: 0}, [])
    assert report.checked == 6 + 6 + 6  # products, pictures, texts
    note = latest(stores)
    assert note is not None
    assert (note.checked, note.drift, note.behind, sum(note.faults.values())) == (18, 0.0, 0, 0)


def test_an_empty_catalogue(stores: Stores) -> None:
    assert latest(stores) is None
    report = audit(stores, repair=True)
    assert (report.checked, report.open, report.drift) == (0, 0, 0.0)


def test_nodes_without_vectors_and_vectors_without_nodes(stores: Stores, live: Generation) -> None:
    images, texts = f"skugraph_{live.id}_image", f"skugraph_{live.id}_text"
    stores.vectors.delete_rows(images, ["p4#img0", "p5#img1"])
    put_rows(stores, texts, [("ghost#txt", "ghost"), ("p1#txt2", "p1")])
    report = audit(stores)
    assert faults(report) == {"missing": 2, "orphan": 2}
    assert (named(report, "missing"), named(report, "orphan")) == (["p4#img0", "p5#img1"], ["ghost#txt", "p1#txt2"])
    assert report.open == 4
    assert report.drift == pytest.approx(4 / report.checked)
    assert audit(stores).faults == report.faults, "looking changes nothing"
    mended = audit(stores, repair=True)
    assert (mended.open, mended.refill, mended.behind) == (0, [live.id], {live.id: 2})
    again = audit(stores, repair=True)
    assert (faults(again), again.behind) == ({}, {live.id: 2}), "p4 and p5 wait for their turn, which is no fault"
    embed(stores)
    clean(stores)
    assert stores.vectors.count(images) == 6
    assert stores.vectors.count(texts) == 6


def put_rows(stores: Stores, collection: str, names: Sequence[tuple[str, str]], **fields: object) -> None:
    rows = [{"instance_id": name, "product_id": product, "vector": vector(name), **fields} for name, product in names]
    stores.vectors.upsert(collection, rows)


def test_vectors_of_other_content(stores: Stores, live: Generation) -> None:
    texts = f"skugraph_{live.id}_text"
    put_rows(stores, texts, [("p1#txt", "p1")], content_hash="other", revision=2)
    put_rows(stores, texts, [("p2#txt", "p2")], content_hash="Product p2", revision=1)
    report = audit(stores)
    assert (faults(report), named(report, "stale")) == ({"stale": 2}, ["p1#txt", "p2#txt"])
    assert audit(stores, repair=True).behind == {live.id: 2}
    embed(stores)
    clean(stores)


def test_what_the_cursor_has_not_reached_is_behind_and_no_fault(stores: Stores, live: Generation) -> None:
    put(stores.graph, "p9")
    put(stores.graph, "p1", title="Changed")
    remove(stores.graph, "p2")
    report = audit(stores)
    assert (faults(report), report.behind) == ({}, {live.id: 3})
    embed(stores)
    clean(stores)
    assert stores.graph.read("MATCH (r:Removed) RETURN r.id AS id") == [{"id": "p2"}]


def test_pictures_that_cannot_be_read_are_no_fault(stores: Stores, live: Generation) -> None:
    pairs = embed(stores, "b" * 16, ("fused",))
    clean(stores)
    for name in (f"skugraph_{live.id}_image", f"skugraph_{pairs.id}_fused"):
        stores.vectors.delete_rows(name, ["p4#img0"])
    assert faults(audit(stores)) == {"missing": 2}
    stores.graph.write(REJECTED, rows=[{"id": "p4#img0", "error": "torn"}])
    report = audit(stores)
    assert (faults(report), report.unreadable) == ({}, 1)
    assert audit(stores, repair=True).behind == {live.id: 1, pairs.id: 1}, "it is tried again, by all"
    assert audit(stores, repair=True).behind == {live.id: 1, pairs.id: 1}, "once: it waits for its turn"


def test_a_vector_of_a_picture_that_another_generation_could_not_read_stays(stores: Stores, live: Generation) -> None:
    pairs = embed(stores, "b" * 16, ("fused",))
    stores.vectors.delete_rows(f"skugraph_{pairs.id}_fused", ["p4#img0"])
    stores.graph.write(REJECTED, rows=[{"id": "p4#img0", "error": "away"}])
    report = audit(stores, repair=True)
    assert (faults(report), report.unreadable) == ({}, 1)
    assert stores.vectors.count(f"skugraph_{live.id}_image", "instance_id == 'p4#img0'") == 1
    put_rows(stores, f"skugraph_{live.id}_image", [("p4#img0", "p4")], content_hash="Product p4", revision=1)
    embed(stores, "b" * 16, ("fused",))
    assert named(audit(stores), "stale") == [], "its product has a new number, which the live one has yet to learn"


def test_collections_that_are_gone_or_of_nobody(stores: Stores, live: Generation) -> None:
    other = embed(stores, "b" * 16)
    stores.vectors.drop(f"skugraph_{live.id}_text")
    stores.vectors.drop(f"skugraph_{other.id}_image")
    stores.vectors.create("skugraph_gcccccccccc_image", 4)
    stores.vectors.create("skugraph_entities_cccccccccc", 4)
    report = audit(stores)
    assert faults(report) == {"no_collection": 2, "no_generation": 1}
    mended = audit(stores, repair=True)
    assert (mended.open, sorted(mended.refill)) == (0, sorted([live.id, other.id]))
    assert "skugraph_gcccccccccc_image" not in stores.vectors.collections()
    assert "skugraph_entities_cccccccccc" in stores.vectors.collections()
    assert generations.live_id(stores) == live.id, "the live one stays live while it is filled again"
    assert {one.id: one.state for one in generations.listing(stores)} == {live.id: "live", other.id: "building"}
    embed(stores)
    embed(stores, "b" * 16)
    clean(stores)


def test_a_collection_of_another_dimension_is_told_but_not_touched(stores: Stores, live: Generation) -> None:
    name = f"skugraph_{live.id}_text"
    stores.vectors.drop(name)
    stores.vectors.create(name, 8)
    report = audit(stores, repair=True)
    assert [(f.kind, f.why, f.repaired) for f in report.first if f.kind == "wrong_encoder"] == [
        ("wrong_encoder", "it holds 8 dimensions, the encoder random gives 4", False)
    ]


def test_a_checkpoint_of_another_fingerprint(stores: Stores, live: Generation, tmp_path: Path) -> None:
    (tmp_path / "fingerprint").write_text("f" * 16)
    stores.graph.write("MATCH (g:Generation) SET g.encoder_path = $path", path=str(tmp_path))
    report = audit(stores, repair=True)
    assert (faults(report), report.open) == ({"wrong_encoder": 1}, 1)
    assert f"it has fingerprint {'f' * 16}, the vectors were made with {'a' * 16}" in report.first[0].why
    (tmp_path / "fingerprint").write_text("a" * 16 + "\n")
    clean(stores)


def test_an_alias_that_is_gone_or_points_at_nobody(stores: Stores, live: Generation) -> None:
    client = stores.vectors.connection.client
    client.drop_alias("skugraph_live")
    assert faults(audit(stores)) == {"alias": 1}
    mended = audit(stores, repair=True)
    assert (faults(mended), mended.open) == ({"alias": 1}, 0)
    assert generations.live_id(stores) == live.id
    clean(stores)
    stores.vectors.create("skugraph_gcccccccccc_image", 4)
    stores.vectors.point_alias("skugraph_live", "skugraph_gcccccccccc_image")
    report = audit(stores, repair=True)
    assert (faults(report), report.open) == ({"alias": 1, "no_generation": 1}, 0)
    assert generations.live_id(stores) == live.id
    clean(stores)


def test_a_graph_that_was_not_told_of_a_flip(stores: Stores, live: Generation) -> None:
    other = embed(stores, "b" * 16)
    stores.vectors.point_alias("skugraph_live", f"skugraph_{other.id}_image")
    report = audit(stores)
    assert (faults(report), report.open) == ({"unsettled": 1}, 1)
    assert {one.id: one.state for one in generations.noted(stores)}[live.id] == "live"
    assert audit(stores, repair=True).open == 0
    clean(stores)
    assert switching.rollback(stores).id == live.id


def test_what_was_half_built_is_retired_unless_a_job_may_go_on(stores: Stores, live: Generation) -> None:
    half = generations.register(
        stores, encoder="random", fingerprint="b" * 16, encoder_path="/models/none", dim=4, kinds=KINDS
    )
    stores.graph.write("CREATE (:Job {id: 'j', kind: 'reembed', state: 'failed', generation: $id})", id=half.id)
    clean(stores)
    stores.graph.write("MATCH (j:Job) SET j.state = 'cancelled'")
    clean(stores)
    stores.graph.write("MATCH (j:Job) SET j.state = 'done'")
    assert faults(audit(stores)) == {"left_over": 1}
    assert audit(stores, repair=True).open == 0
    assert generations.get(stores, half.id).state == "retired"
    clean(stores)


@pytest.mark.parametrize("look", [1, 2, 3])
def test_a_generation_that_is_begun_while_it_looks_keeps_its_collections(
    stores: Stores, live: Generation, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    original, looks = stores.vectors.collections, 0

    def begun() -> list[str]:
        nonlocal looks
        looks += 1
        if looks == look:
            stores.graph.write("CREATE (:Job {id: 'j', state: 'running', generation: $id})", id="gbbbbbbbbbb")
            embed(stores, "b" * 16)
        return original()

    monkeypatch.setattr(stores.vectors, "collections", begun)
    assert faults(audit(stores, repair=True)) == {}
    assert looks > look
    assert {"skugraph_gbbbbbbbbbb_image", "skugraph_gbbbbbbbbbb_text"} <= set(original())


def test_a_lost_alias_and_a_lost_collection_of_what_was_live(stores: Stores, live: Generation) -> None:
    stores.vectors.connection.client.drop_alias("skugraph_live")
    stores.vectors.drop(f"skugraph_{live.id}_image")
    report = audit(stores, repair=True)
    assert faults(report) == {"alias": 1, "no_collection": 1}
    assert generations.get(stores, live.id).cursor == 0, "it is filled from the first change"


def test_many_pages_and_a_change_while_it_looks(
    stores: Stores, live: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    stores.vectors.delete_rows(f"skugraph_{live.id}_text", [f"p{n}#txt" for n in range(6)])
    assert faults(audit(stores)) == {"missing": 6}
    seen: list[str] = []

    def change(what: str, done: int, total: int | None) -> None:
        if not seen:  # after the first page: all the others get new revisions, and are behind from now on
            for n in range(2, 6):
                put(stores.graph, f"p{n}", title="Changed")
        seen.append(what)

    report = audit(stores, on_progress=change)
    assert named(report, "missing") == ["p0#txt", "p1#txt"]
    assert report.behind == {live.id: 4}
    assert {"products", f"skugraph_{live.id}_image"} <= set(seen)
