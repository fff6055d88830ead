"""Every error of the API as RFC 9457 `application/problem+json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from kg.errors import (
    BadInput,
    BadPicture,
    EncoderMismatch,
    Forbidden,
    GateClosed,
    JobError,
    NotFound,
    RateLimited,
    SkugraphError,
    StoreDown,
    TooLarge,
    Unauthorised,
)

__all__ = ["as_problem", "document", "install", "problem", "status_of"]

# First match wins: special cases before their parents.
STATUS: tuple[tuple[type[SkugraphError], int], ...] = (
    (NotFound, 404),
    (TooLarge, 413),
    (BadPicture, 422),
    (BadInput, 400),
    (Unauthorised, 401),
    (Forbidden, 403),
    (RateLimited, 429),
    (EncoderMismatch, 409),
    (GateClosed, 409),
    (JobError, 409),
    (StoreDown, 503),
    (SkugraphError, 500),
)


def status_of(error: SkugraphError) -> int:
    """HTTP status of an error of the tree in kg/errors.py."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def problem(
    status: int, code: str, detail: str, *, hint: str = "", headers: dict[str, str] | None = None, **extra: object
) -> Response:
    """One problem document; `extra` are its extension members."""
    body = _document(status, code, detail, hint, extra)
    # Escaped, since what was refused may be half of a surrogate pair, which is no UTF-8.
    return Response(json.dumps(jsonable_encoder(body)), status, headers, media_type="application/problem+json")


def document(error: SkugraphError) -> dict[str, object]:
    """The problem document of an error, for a reply that has it inside."""
    found: dict[str, object] = jsonable_encoder(
        _document(status_of(error), error.code, error.message, error.hint, error.detail)
    )
    return found


def _document(status: int, code: str, detail: str, hint: str, extra: Mapping[str, object]) -> dict[str, object]:
    body: dict[str, object] = {
        "type": f"urn:skugraph:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if hint:
        body["hint"] = hint
    return body | {name: value for name, value in extra.items() if name not in body}


def as_problem(error: SkugraphError, **extra: object) -> Response:
    """The problem document of an error; where waiting helps it says how long."""
    headers = {}
    if isinstance(error, Unauthorised):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, StoreDown | RateLimited):
        headers["Retry-After"] = str(math.ceil(float(str(error.detail.get("retry_after_s", 5)))))
    return problem(
        status_of(error), error.code, error.message, hint=error.hint, headers=headers, **error.detail, **extra
    )


def install(app: FastAPI) -> None:
    """Turn every way a request can fail into a problem document."""

    async def skugraph(request: Request, error: Exception) -> Response:
        assert isinstance(error, SkugraphError)
        return as_problem(error, instance=request.url.path, request_id=request.state.request_id)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"field": ".".join(map(str, e["loc"])), "rule": e["msg"], "value": repr(e.get("input"))[:200]}
            for e in error.errors()
        ]
        first = errors[0]
        detail = f"{first['field']} = {first['value']}: {first['rule']}"
        extra = {"instance": request.url.path, "request_id": request.state.request_id, "errors": errors}
        return problem(400, BadInput.code, detail, hint="/docs shows every field with an example", **extra)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        headers = dict(error.headers) if error.headers else None
        extra = {"instance": request.url.path, "request_id": request.state.request_id}
        return problem(error.status_code, code, str(error.detail), headers=headers, **extra)

    app.add_exception_handler(SkugraphError, skugraph)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
