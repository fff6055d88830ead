"""The REST API over real stores: what it answers, and how it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import WEB, create_app
from api.auth import Keys
from api.models import SearchRequest
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.entity_vectors import write
from kg.sample import SamplePaths, write_sample
from kg.settings import Settings
from kg.stores import Stores
from tests.api.test_search import embed
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny

HERE = "http://127.0.0.1:8765"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample(tmp_path_factory.mktemp("sample"), products=8)


@pytest.fixture
def shop(stores: Stores, sample: SamplePaths, tmp_path: Path) -> Iterator[TestClient]:
    """The API over eight products of the sample, embedded; on both graph engines."""
    ingest(stores, sample.table, sample.images, ColumnMap.load(sample.map))
    embed(stores, write_tiny(tmp_path / "tiny"))
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        yield client


def open_api(settings: Settings, **changes: Any) -> TestClient:
    """The API over the stores of `settings`, set otherwise."""
    return TestClient(create_app(settings.model_copy(update=changes)), base_url=HERE)


@pytest.fixture
def api(embedded: Stores) -> Iterator[TestClient]:
    """The API over the embedded stores, for what needs no catalogue."""
    with open_api(embedded.settings) as client:
        yield client


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:skugraph:error:{code}"
    assert (body["status"], body["request_id"]) == (status, answer.headers["x-request-id"])
    assert body["title"]
    assert body["detail"]
    return body


def test_a_picture_is_found_by_json_and_by_form_alike(shop: TestClient, sample: SamplePaths) -> None:
    picture = (sample.images / "L0001a.jpg").read_bytes()
    by_form = shop.post("/v1/search", files={"image": picture}, data={"request": '{"k": 3}'}).json()
    by_json = shop.post("/v1/search", json={"image": base64.b64encode(picture).decode(), "k": 3}).json()
    assert by_form["hits"] == by_json["hits"]
    assert (by_form["requested"], by_form["returned"]) == (3, 3)
    first = by_form["hits"][0]
    assert first["product"]["id"] == "L0001a"
    assert first["match"]["instance_id"] == "L0001a#img0"
    assert first["reason"]


def test_words_facets_and_metrics(shop: TestClient) -> None:
    facets = shop.post("/v1/facets", json={}).json()
    brand = facets["brand"][0]
    assert facets["total"] >= brand["count"] > 0
    reply = shop.post("/v1/search", json={"text": "soap", "filters": {"brand": brand["key"]}, "k": 100}).json()
    assert {hit["product"]["brand"] for hit in reply["hits"]} == {brand["text"]}
    assert reply["returned"] == brand["count"]
    assert f'skugraph_search_seconds_count{{plan="{reply["plan"]}"}}' in shop.get("/metrics").text
    batch = shop.post("/v1/search:batch", json={"searches": [{"text": "soap", "k": 1}, {"like": "L0001a"}]}).json()
    assert [reply["requested"] for reply in batch["replies"]] == [1, 10]


def test_a_product_its_offers_and_its_pictures(shop: TestClient, sample: SamplePaths) -> None:
    product = shop.get("/v1/products/L0003a").json()
    assert product["category"][0] == "Household"
    assert "material" in {entity["type"] for entity in product["entities"]}
    offers = shop.get("/v1/products/L0003a/offers").json()["offers"]
    prices = [offer["price"] for offer in offers]
    assert len(prices) > 1
    assert prices == sorted(prices)
    assert {offer["product_id"][:5] for offer in offers} == {"L0003"}
    [shown] = product["pictures"]
    answer = shop.get(shown["href"], params={"width": 64})
    assert max(Image.open(io.BytesIO(answer.content)).size) == 64
    again = shop.get(shown["href"], params={"width": 64}, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert shop.get("/v1/products/L0003a/picture").headers["content-type"] == "image/jpeg"
    refused(shop.get("/v1/products/L0003a/pictures/9"), 404, "not-found")
    refused(shop.get("/v1/products/nothing"), 404, "not-found")
    refused(shop.get("/v1/products/nothing/offers"), 404, "not-found")


def test_any_id_has_an_address(shop: TestClient, stores: Stores, tmp_path: Path) -> None:
    id = "a/b c?ü"
    put(stores.graph, id, title="Odd", pictures=[draw(tmp_path / "odd.png", 1)])
    path = f"/v1/products/{quote(id, safe='')}"
    answer = shop.get(path)
    assert answer.status_code == 200, answer.text
    product = answer.json()
    assert product["id"] == id
    assert shop.get(product["pictures"][0]["href"]).headers["content-type"] == "image/jpeg"
    assert shop.get(f"{path}/offers").json()["offers"] == []


def test_entities_are_found_by_words_and_by_key(shop: TestClient) -> None:
    frequent = shop.get("/v1/entities", params={"type": "brand"}).json()["entities"]
    assert [e["df"] for e in frequent] == sorted((e["df"] for e in frequent), reverse=True)
    found = shop.get("/v1/entities", params={"query": f"{frequent[0]['text']} +(:"}).json()["entities"]
    assert frequent[0]["key"] in {entity["key"] for entity in found}
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in frequent[0]["text"])
    assert shop.get("/v1/entities", params={"query": wide}).json()["entities"] == found  # full width is no other word
    one = shop.get(f"/v1/entities/{frequent[0]['key']}").json()
    assert (one["text"], one["similar"]) == (frequent[0]["text"], [])
    refused(shop.get("/v1/entities/brand:nobody"), 404, "not-found")


def test_an_entity_says_whether_its_vector_is_stale(shop: TestClient, stores: Stores) -> None:
    [one] = shop.get("/v1/entities", params={"type": "brand", "limit": 1}).json()["entities"]
    path = f"/v1/entities/{one['key']}"
    assert shop.get(path).json()["stale"], "it has no vector"
    write(
        stores, keys=[one["key"]], types=["brand"], vectors=np.ones((1, 4), np.float32), fingerprint="f" * 64,
        encoder_path="", edges_at=1,
    )  # fmt: skip
    assert not shop.get(path).json()["stale"]
    stores.graph.write("MATCH (e:Entity {key: $key}) SET e.edges_at = 2", key=one["key"])
    assert shop.get(path).json()["stale"]


def test_cypher_reads_and_does_not_write(shop: TestClient) -> None:
    body = {"query": "MATCH (p:Product) WHERE p.id = $id RETURN p.id AS id", "params": {"id": "L0001a"}}
    assert shop.post("/v1/cypher", json=body).json() == {"columns": ["id"], "rows": [["L0001a"]], "truncated": False}
    many = shop.post("/v1/cypher", json={"query": "MATCH (p:Product) RETURN p.id", "max_rows": 2}).json()
    assert (len(many["rows"]), many["truncated"]) == (2, True)
    refused(shop.post("/v1/cypher", json={"query": "MATCH (p:Product) DETACH DELETE p"}), 400, "bad-query")
    assert shop.get("/v1/products/L0001a").status_code == 200


def test_generations_and_jobs(shop: TestClient) -> None:
    [live] = shop.get("/v1/generations").json()["generations"]
    assert (live["state"], live["stale"], live["encoder"]) == ("live", 0, "tiny")
    assert shop.post(f"/v1/generations/{live['id']}:promote").json()["state"] == "live"
    refused(shop.post("/v1/generations/gnone:promote"), 404, "not-found")
    assert shop.get("/v1/jobs").json() == {"jobs": []}
    refused(shop.get("/v1/jobs/none"), 404, "not-found")
    refused(shop.post("/v1/jobs/none:explode"), 404, "not-found")
    refused(shop.post("/v1/jobs", json={"kind": "embed", "encoder": "../../etc"}), 400, "bad-input")
    refused(shop.post("/v1/jobs", json={"kind": "embed", "encoder": "not-trained"}), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"txt": "soap"}, "bad-input", "txt"),
        ({"text": "soap", "k": 0}, "bad-input", "k"),
        ({}, "bad-input", "nothing is asked for"),
        ({"filters": {"colr": "red"}}, "bad-filter", "colr"),
        ({"filters": {"min_price": "cheap"}}, "bad-filter", "min_price"),
        ({"text": "soap", "k": 1001}, "bad-input", "search_max_k"),
        ({"filters": {"updated_since": "9999-12-31T23:59:59-12:00"}}, "bad-filter", "years 1 to 9999"),
        ({"image": "", "box": [0, 0, "Infinity", 1]}, "bad-input", "a box is"),
        ([], "bad-input", "object"),
    ],
)
def test_bad_searches_name_what_is_wrong(api: TestClient, body: Any, code: str, says: str) -> None:
    assert says in refused(api.post("/v1/search", json=body), 400, code)["detail"]


def test_bodies_that_are_no_search(api: TestClient) -> None:
    json_type = {"content-type": "application/json"}
    refused(api.post("/v1/search", content=b"{", headers=json_type), 400, "bad-input")
    refused(api.post("/v1/search", content=b"hello", headers={"content-type": "text/plain"}), 400, "bad-input")
    refused(api.post("/v1/search", files={"photo": b"x"}), 400, "bad-input")
    refused(api.post("/v1/search", files={"image": b"not a picture"}), 422, "bad-picture")
    refused(api.post("/v1/cypher", json={"query": 1}), 400, "bad-input")
    refused(api.post("/v1/search", content=b"[" * 100_000, headers=json_type), 400, "bad-input")
    for body in (b'{"query": NaN}', rb'{"query": "\ud800"}', rb'{"query": "RETURN 1", "\ud800": 1}'):
        refused(api.post("/v1/cypher", content=body, headers=json_type), 400, "bad-input")
    refused(api.post("/v1/search", content=b" " * 26_000_000, headers=json_type), 413, "too-large")
    refused(api.post("/v1/search", content=iter([b"{}"]), headers=json_type), 411, "length-required")
    refused(api.get("/v1/nothing"), 404, "not-found")
    refused(api.put("/v1/search"), 405, "method-not-allowed")


def test_a_crash_tells_its_id_and_nothing_else(embedded: Stores, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(embedded.settings)

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("secret")

    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        answer = client.get("/crash", headers={"X-Request-ID": "mine-1"})
    assert refused(answer, 500, "internal")["request_id"] == "mine-1"
    assert "secret" not in answer.text
    assert "mine-1" in caplog.text
    assert "secret" in caplog.text


def test_a_store_that_is_down_is_named_with_its_address(embedded: Stores) -> None:
    with open_api(embedded.settings, graph_uri="bolt://127.0.0.1:1") as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        body = refused(client.get("/readyz"), 503, "not-ready")
        assert "graph" in body["missing"]
        answer = client.get("/v1/entities")
        assert "127.0.0.1:1" in refused(answer, 503, "store-down")["detail"]
        assert int(answer.headers["retry-after"]) > 0


def test_too_many_requests(embedded: Stores) -> None:
    with open_api(embedded.settings, rate_limit_per_minute=2) as client:
        answers = [client.get("/v1/jobs") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        refused(answers[2], 429, "rate-limited")
        assert int(answers[2].headers["retry-after"]) <= 31


def test_keys_open_what_their_scope_covers(embedded: Stores, tmp_path: Path) -> None:
    keys = Keys.of(embedded.settings)
    tokens = {scope: keys.add(f"{tmp_path.name}-{scope}", scope) for scope in ("read", "ingest", "admin")}
    job = {"kind": "embed", "encoder": "not-trained"}
    try:
        with open_api(embedded.settings, api_auth="on") as client:
            answer = client.get("/v1/jobs")
            refused(answer, 401, "unauthorised")
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(client.get("/metrics"), 401, "unauthorised")
            assert client.get("/healthz").status_code == client.get("/").status_code == 200
            refused(client.get("/v1/jobs", headers={"Authorization": b"Bearer gu\xe9ss"}), 401, "unauthorised")
            as_key = {scope: {"Authorization": f"Bearer {token}"} for scope, token in tokens.items()}
            assert client.get("/v1/jobs", headers=as_key["read"]).status_code == 200
            refused(client.post("/v1/jobs", json=job, headers=as_key["read"]), 403, "forbidden")
            refused(client.post("/v1/jobs", json=job, headers=as_key["ingest"]), 404, "not-found")
            refused(client.post("/v1/generations/g:promote", headers=as_key["ingest"]), 403, "forbidden")
            refused(client.post("/v1/generations/g:promote", headers=as_key["admin"]), 404, "not-found")
    finally:
        for scope in tokens:
            keys.revoke(f"{tmp_path.name}-{scope}")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "shop.evil.example"}, {"Origin": "http://evil.example"}, {"Host": "[::1"}, {"Origin": "http://[::1"}],
)
def test_without_keys_no_other_site_may_ask(api: TestClient, headers: dict[str, str]) -> None:
    refused(api.post("/v1/search", json={"text": "soap"}, headers=headers), 403, "forbidden")
    assert api.get("/v1/jobs", headers={"Origin": HERE}).status_code == 200


def test_the_page_needs_nothing_from_outside(api: TestClient) -> None:
    page = api.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for html in (page.text, api.get("/docs").text):
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
            assert api.get(path).status_code == 200, path
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", html)
    modules = "".join(path.read_text(encoding="utf-8") for path in WEB.iterdir())
    outside = set(re.findall(r"https?://[\w.]+", modules))
    assert outside <= {"http://www.w3.org"}  # the name of SVG, which nobody fetches


def test_openapi_is_whole_and_its_examples_are_true(api: TestClient) -> None:
    schema = api.get("/openapi.json").json()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(schema)):
        found = schema
        for part in reference.split("/"):
            found = found[part]
    assert "$defs" not in json.dumps(schema)
    content = schema["paths"]["/v1/search"]["post"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        SearchRequest.model_validate(example["value"])
    assert all(operation.get("description") for path in schema["paths"].values() for operation in path.values())
