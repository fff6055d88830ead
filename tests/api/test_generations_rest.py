"""Generations and the audit by REST, over real stores: what each route answers, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from api.auth import Keys
from kg.home import Home
from kg.stores import Stores
from kg.vectors import generations, switching
from tests.api.test_app import open_api, refused
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from tests.workers.test_reembed import finish
from workers.jobs import Job, get_job, submit_embed
from workers.orders import submit_audit, submit_reembed, submit_switch


@pytest.fixture
def home(stores: Stores, tmp_path: Path) -> Stores:
    """Six products in two generations, the older live, in a home of this test alone."""
    root = Home(tmp_path / "home").create().root
    own = Stores(stores.settings.model_copy(update={"home": root}), stores.graph, stores.vectors_uri)
    for n in range(6):
        put(own.graph, f"p{n}", title=f"Candle number {n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    finish(own, submit_embed(own, write_tiny(root / "models" / "old")))
    finish(own, submit_embed(own, write_tiny(root / "models" / "new", seed=8, dim=32)))
    (root / "queries").mkdir()
    (root / "queries" / "q.tsv").write_text("".join(f"q{n}\tcandle number {n}\n" for n in range(6)))
    (root / "queries" / "qrels").write_text("".join(f"q{n} 0 p{n} 1\n" for n in range(6)))
    (root / "queries" / "gates.json").write_text('{"gates": [{"metric": "MRR", "loss": 0.2}]}')
    return own


@pytest.fixture
def api(home: Stores) -> Iterator[TestClient]:
    with open_api(home.settings, graph_uri=home.graph.address, vectors_uri=home.vectors_uri, **login(home)) as client:
        yield client


def login(stores: Stores) -> dict[str, object]:
    at = stores.graph.at
    return {"graph_user": at.user, "graph_password": SecretStr(at.password), "graph_database": at.database}


def both(stores: Stores) -> tuple[str, str]:
    live = generations.live_id(stores)
    [other] = [one.id for one in generations.listing(stores) if one.id != live]
    return live, other


def run(stores: Stores, answer: dict[str, object]) -> Job:
    return finish(stores, get_job(stores, str(answer["id"])))


def test_the_start_of_the_api_lets_the_graph_follow_the_alias(home: Stores) -> None:
    old, new = both(home)
    home.vectors.point_alias("skugraph_live", f"skugraph_{new}_image")
    assert {one.id: one.state for one in generations.noted(home)} == {old: "live", new: "shadow"}
    with open_api(home.settings, graph_uri=home.graph.address, vectors_uri=home.vectors_uri, **login(home)) as api:
        api.app.state.backend._warming.join()  # type: ignore[attr-defined]
        assert {one.id: one.state for one in generations.noted(home)} == {old: "shadow", new: "live"}
        assert api.get("/v1/generations:events").json()["events"][0]["action"] == "repair"


MEASURE = {"queries": "q.tsv", "qrels": "qrels", "gates": "gates.json"}


def test_promote_roll_back_retire_and_who_did_it(api: TestClient, home: Stores) -> None:
    old, new = both(home)
    assert api.post(f"/v1/generations/{new}:promote", json={"reason": "newer"}).json()["previous"] == old
    refused(api.post(f"/v1/generations/{old}:retire"), 400, "bad-input")
    assert api.post("/v1/generations:rollback", json={"reason": "odd"}).json()["id"] == old
    refused(api.post("/v1/generations:rollback"), 409, "job")
    assert api.post(f"/v1/generations/{new}:retire").json()["state"] == "retired"
    refused(api.post(f"/v1/generations/{new}:promote"), 409, "job")
    refused(api.get("/v1/generations/gnone"), 404, "not-found")
    refused(api.post(f"/v1/generations/{old}:promote", json={"forse": True}), 400, "bad-input")
    refused(api.post(f"/v1/generations/{old}:promote", json={"force": True}), 400, "bad-input")
    trail = api.get("/v1/generations:events").json()["events"]
    assert [event["action"] for event in trail] == ["retire", "rollback", "promote", "promote"]
    assert (trail[2]["reason"], trail[2]["by"], trail[1]["other"]) == ("newer", "API at testclient", new)
    assert len(api.get("/v1/generations:events", params={"generation": old}).json()["events"]) == 2


def test_an_evaluation_and_the_gate(api: TestClient, home: Stores) -> None:
    old, new = both(home)
    done = run(home, api.post(f"/v1/generations/{new}:evaluate", json=MEASURE).json())
    assert done.state == "done"
    found = api.get(f"/v1/generations/{new}").json()["evaluation"]
    assert (found["against"], found["queries"], found["passed"]) == (old, 6, True)
    for wrong in ({**MEASURE, "queries": "../keys.json"}, {**MEASURE, "qrels": "none"}, {**MEASURE, "use": "smell"}):
        refused(api.post(f"/v1/generations/{new}:evaluate", json=wrong), 400, "bad-input")
    refused(api.post(f"/v1/generations/{old}:evaluate", json=MEASURE), 400, "bad-input")
    shut = json.loads(json.dumps(found)) | {"passed": False, "failed_count": 1}
    shut["failed"] = [{"metric": "MRR", "group": "", "shadow": 0.1, "live": 0.9, "least": 0.7, "queries": 6}]
    home.graph.write("MATCH (g:Generation {id: $id}) SET g.evaluation = $text", id=new, text=json.dumps(shut))
    body = refused(api.post(f"/v1/generations/{new}:promote"), 409, "gate-closed")
    assert "must be 0.7000 at least" in body["detail"]
    forced = api.post(f"/v1/generations/{new}:promote", json={"force": True, "reason": "seen by eye"}).json()
    assert forced["state"] == "live"


def test_a_re_embedding_is_estimated_refused_or_begun(api: TestClient, home: Stores) -> None:
    write_tiny(home.home.models / "third", seed=9)
    asked = {"encoder": "third", "measure": MEASURE, "promote": True}
    found = api.post("/v1/generations", json={**asked, "dry_run": True}).json()
    assert (found["job"], found["estimate"]["state"], found["estimate"]["products"]) == (None, "new", 6)
    refused(api.post("/v1/generations", json={**asked, "max_bytes": 100}), 413, "too-large")
    refused(api.post("/v1/generations", json={**asked, "max_seconds": 1e-9}), 413, "too-large")
    refused(api.post("/v1/generations", json={"encoder": "../old"}), 400, "bad-input")
    refused(api.post("/v1/generations", json={"encoder": "none"}), 404, "not-found")
    assert len(api.get("/v1/generations").json()["generations"]) == 2
    job = api.post("/v1/generations", json=asked)
    assert job.status_code == 202
    done = run(home, job.json()["job"])
    assert (done.state, done.kind) == ("done", "reembed")
    assert generations.live_id(home) == found["estimate"]["generation"]


def test_two_generations_side_by_side(api: TestClient, home: Stores) -> None:
    old, new = both(home)
    texts = [{"text": "candle number 3"}, {"id": "mine", "text": "number 5"}]
    found = api.post("/v1/generations/diff", json={"a": old, "b": new, "queries": texts, "k": 4}).json()
    assert (found["a"], found["b"], found["k"]) == (old, new, 4)
    assert {one["id"] for one in found["queries"]} == {"1", "mine"}
    assert [one["overlap"] for one in found["queries"]] == sorted(one["overlap"] for one in found["queries"])
    for one in found["queries"]:
        here = {hit["hit"]["product"]["id"]: hit for hit in one["a"]}
        there = {hit["hit"]["product"]["id"]: hit for hit in one["b"]}
        assert len(here) == len(there) == 4
        for name, hit in here.items():
            assert hit["other"] == (there[name]["hit"]["rank"] if name in there else None)
        assert one["overlap"] == len(here.keys() & there.keys()) / 4
        assert here["p0"]["hit"]["product"]["picture"] if "p0" in here else True
    refused(api.post("/v1/generations/diff", json={"a": old, "b": old, "queries": texts}), 400, "bad-input")
    refused(api.post("/v1/generations/diff", json={"a": old, "b": "gnone", "queries": texts}), 404, "not-found")
    refused(api.post("/v1/generations/diff", json={"a": old, "b": new, "queries": []}), 400, "bad-input")
    write_tiny(home.home.models / "new", seed=9, dim=32)
    body = refused(
        api.post("/v1/generations/diff", json={"a": old, "b": new, "queries": texts}), 409, "encoder-mismatch"
    )
    assert generations.get(home, new).fingerprint in body["detail"]


def test_the_ranking_of_a_comparison_is_that_of_a_search_without_words(api: TestClient, home: Stores) -> None:
    old, new = both(home)
    asked = {"a": old, "b": new, "queries": [{"text": "candle number 3"}], "k": 5}
    compared = api.post("/v1/generations/diff", json=asked).json()["queries"][0]
    for name, side in ((old, "a"), (new, "b")):
        switching.promote(home, name)
        reply = api.post("/v1/search", json={"text": "candle number 3", "weights": {"lexical": 0}, "k": 5}).json()
        assert reply["generation"] == name
        assert [h["product"]["id"] for h in reply["hits"]] == [h["hit"]["product"]["id"] for h in compared[side]]


def test_an_audit(api: TestClient, home: Stores) -> None:
    refused(api.get("/v1/audit"), 404, "not-found")
    home.vectors.delete_rows(f"skugraph_{generations.live_id(home)}_text", ["p3#txt"])
    assert run(home, api.post("/v1/audit").json()).rejected == 1
    assert api.get("/v1/audit").json()["faults"]["missing"] == 1
    assert run(home, api.post("/v1/audit", json={"repair": True}).json()).rejected == 0
    run(home, api.post("/v1/audit").json())
    after = api.get("/v1/audit").json()
    assert (after["drift"], sum(after["faults"].values()), after["behind"]) == (0.0, 0, 0)
    assert "skugraph_" in api.get("/metrics").text


def test_only_admins_change_what_is_live(home: Stores) -> None:
    keys = Keys.of(home.settings)
    as_key = {scope: {"Authorization": f"Bearer {keys.add(f'key of {scope}', scope)}"} for scope in ("ingest", "admin")}
    _, new = both(home)
    with open_api(
        home.settings, api_auth="on", graph_uri=home.graph.address, vectors_uri=home.vectors_uri, **login(home)
    ) as api:
        for path in (":rollback", f"/{new}:promote", f"/{new}:retire", f"/{new}:evaluate", ""):
            refused(api.post(f"/v1/generations{path}", json={}, headers=as_key["ingest"]), 403, "forbidden")
        refused(api.post("/v1/audit", headers=as_key["ingest"]), 403, "forbidden")
        assert api.post(f"/v1/generations/{new}:promote", headers=as_key["admin"]).json()["id"] == new
        trail = api.get("/v1/generations:events", headers=as_key["ingest"]).json()["events"]
        assert trail[0]["by"] == "key key of admin"
        orders = [submit_switch(home, "rollback", force=True, reason="odd"), submit_audit(home, repair=True)]
        orders.append(submit_reembed(home, home.home.models / "new", promote=True))
        for order in orders:
            for command in ("pause", "resume", "cancel"):
                refused(api.post(f"/v1/jobs/{order.id}:{command}", headers=as_key["ingest"]), 403, "forbidden")
            assert get_job(home, order.id).state == "queued"
            assert api.post(f"/v1/jobs/{order.id}:pause", headers=as_key["admin"]).json()["state"] == "paused"
        own = api.post("/v1/jobs", json={"kind": "relate"}, headers=as_key["ingest"]).json()["id"]
        assert api.post(f"/v1/jobs/{own}:cancel", headers=as_key["ingest"]).json()["state"] == "cancelled"


def test_who_may_embed_is_held_to_the_budget_too(home: Stores) -> None:
    write_tiny(home.home.models / "third", seed=9)
    with open_api(
        home.settings, graph_uri=home.graph.address, vectors_uri=home.vectors_uri, **login(home), reembed_max_bytes=100
    ) as api:
        refused(api.post("/v1/jobs", json={"kind": "embed", "encoder": "third"}), 413, "too-large")
        assert api.get("/v1/jobs").json()["jobs"][0]["target"] != str(home.home.models / "third")
        done = api.post("/v1/jobs", json={"kind": "embed", "encoder": "old"})
        assert done.status_code == 202, "it has little or nothing to embed"
