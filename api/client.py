"""Searches of the command line: by the API that serves the home where one runs, else in this process."""

from __future__ import annotations

import httpx

from api.models import SearchReply, SearchRequest
from kg.errors import BadInput, SkugraphError
from kg.home import Home
from kg.settings import Settings

__all__ = ["RUN_NAME", "ask_search"]

RUN_NAME = "api"  # run/api.json: url, and a key of the owner of the home (mode 0600)
TIMEOUT_S = 120.0


def ask_search(settings: Settings, request: SearchRequest) -> SearchReply:
    """The reply to one search.

    Raises:
        SkugraphError: as `api.search.Searcher.search` does, also when the API said so.
    """
    running = Home(settings.home).read_run(RUN_NAME)
    if running is None:
        return _here(settings, request)
    headers = {"Authorization": f"Bearer {running['token']}", "Content-Type": "application/json"}
    url = f"{running['url']}/v1/search"
    try:
        answer = httpx.post(url, content=request.model_dump_json(), headers=headers, timeout=TIMEOUT_S)
    except httpx.TransportError as error:
        raise SkugraphError(
            f"the API at {running['url']} does not answer: {error}", hint="`skugraph doctor` looks closer"
        ) from error
    if answer.is_success:
        return SearchReply.model_validate_json(answer.content)
    said = answer.json()
    kind = BadInput if 400 <= answer.status_code < 500 else SkugraphError
    problem = kind(said["detail"], hint=said.get("hint", ""))
    problem.code = said["type"].rpartition(":")[2]
    raise problem


def _here(settings: Settings, request: SearchRequest) -> SearchReply:
    from api.backend import query_encoder  # all this only where no server has it warm
    from api.search import Searcher
    from kg.stores import open_stores

    with open_stores(settings) as stores:
        return Searcher(stores, query_encoder(settings)).search(request)
