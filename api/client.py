"""Searches of the command line: by the API that serves the home where one runs, else in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from api.batch_models import Batch
from api.instance_models import InstancesReply, InstancesRequest
from api.listening import RUN_NAME
from api.models import Model, SearchReply, SearchRequest
from api.recommendation_models import RecommendationsReply, RecommendationsRequest
from kg.errors import BadInput, SkugraphError
from kg.home import Home
from kg.settings import Settings

if TYPE_CHECKING:
    from api.search import Searcher

__all__ = ["RUN_NAME", "ask_batch", "ask_instances", "ask_recommendations", "ask_search"]

TIMEOUT_S = 120.0

Reply = TypeVar("Reply", bound=Model)


def ask_search(settings: Settings, request: SearchRequest) -> SearchReply:
    """The reply to one search.

    Raises:
        SkugraphError: as `api.search.Searcher.search` does, also when the API said so.
    """
    return _ask(settings, "/v1/search", request, SearchReply, lambda searcher: searcher.search(request))


def ask_batch(settings: Settings, requests: Sequence[SearchRequest]) -> Iterator[SearchReply | SkugraphError]:
    """For each request, in order and as soon as it is known, the reply or what is wrong with it.

    Raises:
        SkugraphError: the API does not answer.
    """
    running = Home(settings.home).read_run(RUN_NAME)
    if running is None:
        from api.batch import answers

        with _searcher(settings) as searcher:
            yield from answers(searcher, requests)
        return
    headers = {"Authorization": f"Bearer {running['token']}", "Accept": "application/x-ndjson"}
    with _reached(running["url"]), httpx.Client(headers=headers, timeout=TIMEOUT_S) as client:
        for some in _batches(requests, settings):
            content = Batch(searches=some, on_error="report").model_dump_json()
            sent = {"Content-Type": "application/json"}
            with client.stream("POST", running["url"] + "/v1/search:batch", content=content, headers=sent) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _problem(answer.json())
                for line in answer.iter_lines():
                    said = json.loads(line)
                    yield _problem(said["error"]) if "error" in said else SearchReply.model_validate(said)


def _batches(requests: Sequence[SearchRequest], settings: Settings) -> Iterator[list[SearchRequest]]:
    """As many together as one request may have; pictures make it large."""
    some: list[SearchRequest] = []
    size = 0.0
    for request in requests:
        bytes_ = 1.4 * len(request.image or b"") + 10_000
        if some and (len(some) >= settings.search_batch_max or size + bytes_ > settings.request_max_mb * 1e6):
            yield some
            some, size = [], 0.0
        some.append(request)
        size += bytes_
    if some:
        yield some


def ask_instances(settings: Settings, request: InstancesRequest) -> InstancesReply:
    """The reply to one search by instances.

    Raises:
        SkugraphError: as `api.instances.search_instances` does, also when the API said so.
    """

    def here(searcher: Searcher) -> InstancesReply:
        from api.instances import search_instances

        return search_instances(searcher, request)

    return _ask(settings, "/v1/instances", request, InstancesReply, here)


def ask_recommendations(settings: Settings, request: RecommendationsRequest) -> RecommendationsReply:
    """The reply to one request for recommendations.

    Raises:
        SkugraphError: as `api.recommendations.recommend` does, also when the API said so.
    """

    def here(searcher: Searcher) -> RecommendationsReply:
        from api.recommendations import recommend

        return recommend(searcher, request)

    return _ask(settings, "/v1/recommendations", request, RecommendationsReply, here)


def _ask(settings: Settings, path: str, request: Model, reply: type[Reply], here: Callable[[Searcher], Reply]) -> Reply:
    """What the API answers; what this process finds where none runs."""
    answer = _asked(settings, path, request)
    if answer is not None:
        return reply.model_validate_json(answer)
    with _searcher(settings) as searcher:
        return here(searcher)


def _asked(settings: Settings, path: str, request: Model) -> bytes | None:
    """What the API of this home answers; None where none runs."""
    running = Home(settings.home).read_run(RUN_NAME)
    if running is None:
        return None
    headers = {"Authorization": f"Bearer {running['token']}", "Content-Type": "application/json"}
    with _reached(running["url"]):
        answer = httpx.post(
            running["url"] + path, content=request.model_dump_json(), headers=headers, timeout=TIMEOUT_S
        )
    if answer.is_success:
        return answer.content
    raise _problem(answer.json())


@contextmanager
def _reached(url: str) -> Iterator[None]:
    """Say that the API does not answer where the connection says so."""
    try:
        yield
    except httpx.TransportError as error:
        raise SkugraphError(
            f"the API at {url} does not answer: {error}", hint="`skugraph doctor` looks closer"
        ) from error


def _problem(said: Mapping[str, Any]) -> SkugraphError:
    """The error that a problem document tells of."""
    kind = BadInput if 400 <= said["status"] < 500 else SkugraphError
    problem = kind(said["detail"], hint=said.get("hint", ""))
    problem.code = said["type"].rpartition(":")[2]
    return problem


@contextmanager
def _searcher(settings: Settings) -> Iterator[Searcher]:
    from api.backend import query_encoder  # all this only where no server has it warm
    from api.search import Searcher
    from kg.stores import open_stores

    with open_stores(settings) as stores:
        yield Searcher(stores, query_encoder(settings))
