"""Searches together: what each would get alone, in order; over REST, line by line, and from the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.batch import answers
from api.batch_models import BatchReply, read_batch
from api.models import SearchReply, SearchRequest
from api.search import Searcher
from encoders import load
from kg.errors import BadFilter, BadInput, NotFound, SkugraphError, TooLarge
from kg.filters import Filters
from kg.graph.resolving import selected
from kg.graph.selection import Selection
from kg.stores import Stores
from tests.api.test_search import checkpoint, shop  # noqa: F401  # fixtures

HERE = "http://127.0.0.1:8765"
ASKED: list[dict[str, Any]] = [
    {"text": "amber candle", "k": 3},
    {"like": "p0", "k": 2},
    {"text": "amber candle", "filters": {"near": "colour:amber"}, "plan": "ids"},
    {"filters": {"max_price": 30}, "k": 3},
    {"text": "blue jar", "filters": {"max_price": 30}, "k": 4},
    {"text": "amber candle", "k": 3},
    {"text": "honey candle", "graph": "narrow"},
    {"text": "honey candle", "graph": "widen", "weights": {"lexical": 0.5}, "fusion": "weighted"},
    {"like": "p3", "text": "honey", "vectors": ["fused", "image"]},
]
SKIPPED = {"timings_ms": 0, "plan": 0, "explanation": 0}  # the copy beside the API may be there a moment later


def told(reply: object) -> dict[str, Any]:
    assert isinstance(reply, SearchReply), reply
    return reply.model_dump(exclude=set(SKIPPED))


def test_together_as_alone(shop: Path, stores: Stores) -> None:  # noqa: F811
    searcher = Searcher(stores, load)
    picture = {"image": (shop / "0.png").read_bytes(), "k": 2}
    requests = [SearchRequest(**one) for one in [*ASKED, picture, {**picture, "text": "amber"}, {**picture, "k": 5}]]
    together = [told(reply) for reply in answers(Searcher(stores, load), requests)]
    assert together == [told(searcher.search(request)) for request in requests]
    assert {"like-fused", "text-fused", "like-image", "text-image", "lexical"} == set(
        name for hit in together[8]["hits"] for name in hit["scores"]
    )


def test_equal_searches_are_made_once_and_what_is_asked_of_one_collection_together(
    shop: Path,  # noqa: F811
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searcher, asked = Searcher(stores, load), []
    search = type(stores.vectors).search

    def counted(self: Any, collection: str, vectors: Any, *rest: Any) -> Any:
        asked.append((collection.rpartition("_")[2], len(vectors)))
        return search(self, collection, vectors, *rest)

    monkeypatch.setattr(type(stores.vectors), "search", counted)
    texts = ["amber", "honey", "ivory", "amber", "blue", "amber"]
    replies = list(answers(searcher, [SearchRequest(text=text, k=2) for text in texts]))
    assert asked == [("image", 4), ("text", 4)]
    assert replies[0] is replies[3] is replies[5]


def test_each_fails_for_itself(shop: Path, stores: Stores) -> None:  # noqa: F811
    requests = [
        SearchRequest(text="amber"),
        SearchRequest(like="nobody"),
        SearchRequest(text="amber", k=1001),
        SearchRequest(image=b"no picture"),
        SearchRequest(text="amber", weights={"nothing": 1}),
        SearchRequest(text="amber", entities=[{"type": "brand", "value": "Aurora"}]),
        SearchRequest(text="amber", image_url="http://127.0.0.1/x.png"),
        SearchRequest(text="honey"),
    ]
    found = list(answers(Searcher(stores, load), requests))
    assert [getattr(one, "code", "") for one in found] == [
        "", "not-found", "bad-input", "bad-picture", "bad-input", "bad-input", "bad-picture", "",
    ]  # fmt: skip
    assert "nobody" in str(found[1])


def test_equal_filters_that_fail_are_resolved_once(
    shop: Path,  # noqa: F811
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def counted(stores: Stores, filters: Filters) -> Selection:
        asked.append(filters)
        return selected(stores, filters)

    monkeypatch.setattr("api.batch.selected", counted)
    wrong = {"cypher": "MATCH (p:Product) RETURN p.id, p.title"}
    requests = [SearchRequest(text=f"amber {n}", filters=wrong) for n in range(40)]  # more than take a step together
    requests.insert(7, SearchRequest(text="amber", k=1))
    found = list(answers(Searcher(stores, load), requests))
    assert [isinstance(one, BadFilter) for one in found] == [n != 7 for n in range(41)]
    assert len(asked) == 2


def test_a_batch_is_read_strictly() -> None:
    def refused(body: object, match: str, kind: type[SkugraphError] = BadInput) -> None:
        with pytest.raises(kind, match=match):
            read_batch(body if isinstance(body, bytes) else json.dumps(body).encode(), most=2)

    refused(b"{", "the batch is not JSON")
    refused([], "a JSON list")
    refused({"searches": [{"text": "a"}], "k": 3}, "has 'k'")
    refused({"searches": []}, "one search or more")
    refused({"searches": [{"text": "a"}], "on_error": "ignore"}, "'ignore': fail or report")
    refused({"searches": [{"text": "a"}] * 3}, "3 searches: at most 2", TooLarge)
    refused({"searches": [{"text": "a"}, {"txt": "b"}]}, r"searches\.1: request: txt")
    read = read_batch(b'{"searches": [{"text": "a"}, 7], "on_error": "report"}', most=2)
    assert read.searches[0] == SearchRequest(text="a")
    assert isinstance(read.searches[1], BadInput)


@pytest.fixture
def api(shop: Path, stores: Stores) -> Iterator[TestClient]:  # noqa: F811
    with TestClient(create_app(stores.settings), base_url=HERE) as client:
        yield client


def test_by_rest(api: TestClient) -> None:
    def post(body: dict[str, Any], **headers: str) -> Any:
        return api.post("/v1/search:batch", json=body, headers=headers)

    alone = [api.post("/v1/search", json=one).json() for one in ASKED]
    whole = post({"searches": ASKED}).json()["replies"]
    lines = post({"searches": ASKED}, accept="application/x-ndjson")
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    for replies in (whole, [json.loads(line) for line in lines.text.splitlines()]):
        assert [{**one, **SKIPPED} for one in replies] == [{**one, **SKIPPED} for one in alone]

    wrong = [{"text": "amber"}, {"like": "nobody"}, {"text": "a", "k": 0}, {"text": "honey"}]
    refused = post({"searches": wrong[:2]})
    assert (refused.status_code, refused.json()["type"]) == (404, "urn:skugraph:error:not-found")
    told_apart = post({"searches": wrong, "on_error": "report"}).json()["replies"]
    assert ["error" in one for one in told_apart] == [False, True, True, False]
    assert [one["error"]["status"] for one in told_apart[1:3]] == [404, 400]
    assert "nobody" in told_apart[1]["error"]["detail"]
    last = post({"searches": wrong[:2]}, accept="application/x-ndjson").text.splitlines()
    assert [("hits" in json.loads(line), "error" in json.loads(line)) for line in last] == [
        (True, False),
        (False, True),
    ]
    assert post({"searches": wrong[1:2]}, accept="application/x-ndjson").status_code == 404
    metrics = api.get("/metrics").text
    assert 'skugraph_encode_wishes_total{how="cached",part="text"}' in metrics


def test_a_batch_is_read_and_written_beside_the_event_loop(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    beside: list[str] = []

    def noted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **more: Any) -> Any:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            beside.append(name)
            return work(*given, **more)

        return step

    monkeypatch.setattr("api.routes.search.read_batch", noted("read", read_batch))
    monkeypatch.setattr(BatchReply, "model_dump_json", noted("write", BatchReply.model_dump_json))
    reply = api.post("/v1/search:batch", json={"searches": ASKED[:2]})
    assert (reply.status_code, len(reply.json()["replies"]), beside) == (200, 2, ["read", "write"])


def test_each_search_of_a_batch_counts_for_the_rate_limit(shop: Path, stores: Stores) -> None:  # noqa: F811
    settings = stores.settings.model_copy(update={"rate_limit_per_minute": 5})
    with TestClient(create_app(settings), base_url=HERE) as client:
        batch = {"searches": [{"text": f"amber {n}", "k": 1} for n in range(9)]}
        assert client.post("/v1/search:batch", json=batch).status_code == 200
        refused = client.post("/v1/search", json={"text": "amber"})
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:skugraph:error:rate-limited")
        assert refused.json()["retry_after_s"] > 45  # four are owed, at one in 12 s


def test_from_a_file(api: TestClient, stores: Stores, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from api.cli.batch import read_searches, run_batch

    path = tmp_path / "queries.jsonl"
    path.write_text('{"text": "amber", "k": 1}\n\n"honey candle"\n{"like": "nobody"}\n', encoding="utf-8")
    assert read_searches(path)[1] == SearchRequest(text="honey candle")
    assert run_batch(stores.settings, path, explain=False, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == 1
    assert found["replies"][0]["hits"][0]["product"]["id"] == "p0"
    assert found["replies"][2]["error"]["code"] == NotFound.code
    assert run_batch(stores.settings, path, explain=False, as_json=False) == 1
    page = capsys.readouterr().out
    assert "2. honey candle" in page
    assert "error: no product 'nobody'" in page
    for text, match in (("{", "line 1: not JSON"), ('{"k": 0}', "line 1: request: k"), ("", "no search in it")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match=match):
            read_searches(path)
    with pytest.raises(BadInput, match="No such file"):
        read_searches(tmp_path / "none")
