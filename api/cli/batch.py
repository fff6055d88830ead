"""Many searches from a file: `skugraph search --batch FILE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.common import emit, progress, say
from kg.errors import BadInput, SkugraphError

if TYPE_CHECKING:
    from api.models import SearchRequest
    from kg.settings import Settings

__all__ = ["read_searches", "run_batch"]


def read_searches(path: Path) -> list[SearchRequest]:
    """The searches of a file, one a line: the JSON that `POST /v1/search` takes, or a JSON text.

    Raises:
        BadInput: it cannot be read, it is empty, or a line is no search.
    """
    from api.models import SearchRequest

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--batch {path}: {getattr(error, 'strerror', None) or error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            found.append(SearchRequest.model_validate({"text": fields} if isinstance(fields, str) else fields))
        except (ValueError, RecursionError) as error:
            hint = 'one search a line, such as {"text": "soap", "k": 3}, or a text in quotes'
            raise BadInput(f"--batch {path}, line {number}: not JSON: {error}", hint=hint) from error
        except SkugraphError as error:
            error.message = f"--batch {path}, line {number}: {error.message}"
            raise
    if not found:
        raise BadInput(f"--batch {path}: no search in it", hint="one JSON document a line")
    return found


def run_batch(settings: Settings, path: Path, *, explain: bool, as_json: bool) -> int:
    """Search, print, and return how many failed; those are told in their places.

    Raises:
        BadInput: see `read_searches`.
    """
    from api.cli.search import print_reply
    from api.client import ask_batch

    requests = read_searches(path)
    replies: list[Any] = []
    with progress(quiet=as_json) as show:
        for reply in ask_batch(settings, requests):
            replies.append(reply)
            show("searches", len(replies), len(requests))
    failed = [reply for reply in replies if isinstance(reply, SkugraphError)]
    document = [
        {"error": {"code": one.code, "message": one.message, "hint": one.hint}}
        if isinstance(one, SkugraphError)
        else one.model_dump(mode="json")
        for one in replies
    ]

    def page() -> None:
        for number, (request, reply) in enumerate(zip(requests, replies, strict=True), 1):
            say(f"— {number}. {request.text or request.like or 'picture or filters'}", style="bold")
            if isinstance(reply, SkugraphError):
                say(f"error: {reply}", style="red")
            else:
                print_reply(reply, explain=explain)

    emit({"replies": document, "failed": len(failed)}, as_json, page)
    return len(failed)
