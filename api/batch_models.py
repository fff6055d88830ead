"""What a batch of searches takes and gives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.models import Model, SearchReply, SearchRequest
from kg.errors import BadInput, SkugraphError, TooLarge

__all__ = ["Asked", "Batch", "BatchReply", "Failed", "OnError", "read_batch"]

OnError = Literal["fail", "report"]


class Batch(Model):
    """Searches, answered in order."""

    searches: list[SearchRequest] = Field(min_length=1, description="At most as many as the setting search_batch_max")
    on_error: OnError = Field(
        default="fail", description="`fail`: the first search that fails fails all; `report`: it is told in its place"
    )


class Failed(BaseModel):
    """In the place of a reply: what was wrong."""

    error: dict[str, Any] = Field(description="A problem document (RFC 9457)")


class BatchReply(BaseModel):
    replies: list[SearchReply | Failed]


@dataclass(frozen=True)
class Asked:
    """A batch as it was read: searches, and in their places what was wrong with those that are none."""

    searches: tuple[SearchRequest | SkugraphError, ...]
    on_error: OnError


def read_batch(body: bytes, *, most: int) -> Asked:
    """The batch in a JSON body.

    Raises:
        BadInput: it is none; with `fail` also one of its searches is none.
        TooLarge: more than `most` searches.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the batch is not JSON: {error}") from error
    if not isinstance(fields, dict) or (unknown := sorted(set(fields) - set(Batch.model_fields))):
        found = f"has {unknown[0]!r}" if isinstance(fields, dict) else f"is a JSON {type(fields).__name__}"
        raise BadInput(f"the batch {found}: it is an object of {' and '.join(Batch.model_fields)}")
    searches, on_error = fields.get("searches"), fields.get("on_error", "fail")
    if on_error not in ("fail", "report"):
        raise BadInput(f"on_error = {on_error!r}: fail or report", field="on_error")
    if not isinstance(searches, list) or not searches:
        raise BadInput("searches: a list of one search or more", field="searches")
    if len(searches) > most:
        raise TooLarge(f"{len(searches)} searches: at most {most} (setting search_batch_max)", field="searches")
    return Asked(tuple(_read(at, one, on_error) for at, one in enumerate(searches)), on_error)


def _read(at: int, fields: object, on_error: OnError) -> SearchRequest | SkugraphError:
    try:
        if not isinstance(fields, dict):
            raise BadInput(f"it is a JSON {type(fields).__name__}: it must be an object")
        return SearchRequest.model_validate(fields)
    except SkugraphError as error:
        if on_error == "report":
            return error
        error.message = f"searches.{at}: {error.message}"
        raise
