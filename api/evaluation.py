"""Queries with judged answers, searched as users search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from api.models import SearchRequest
from api.search import Searcher
from encoders.evaluation.trec import Query
from kg.errors import BadInput

__all__ = ["Use", "search_all"]

Use = Literal["both", "text", "image"]


def search_all(
    searcher: Searcher, queries: Iterable[Query], *, use: Use, k: int, progress: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """Query → product → score, the k best of each; `use` is the part to ask with, "both" takes what a query has.

    Raises:
        BadInput: a query lacks that part, or its picture is not there.
    """
    run = {}
    for done, query in enumerate(queries, start=1):
        reply = searcher.search(_request(query, use, k), rules=False)  # vectors are judged, not who pinned what
        run[query.id] = {hit.product.id: hit.score for hit in reply.hits}
        progress(done)
    return run


def _request(query: Query, use: Use, k: int) -> SearchRequest:
    fields: dict[str, Any] = {"k": k}
    if query.text and use != "image":
        fields["text"] = query.text
    if query.image and use != "text":
        try:
            fields["image"] = query.image.read_bytes()
        except OSError as error:
            raise BadInput(f"query {query.id!r}: picture {query.image}: {error.strerror}") from error
    if len(fields) == 1:
        raise BadInput(f"query {query.id!r} has no {use}")
    return SearchRequest.model_validate(fields)
