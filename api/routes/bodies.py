"""Requests that may bring a picture: JSON with base64 in it, or a form with the file beside the JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from api.models import Model
from kg.errors import BadInput

__all__ = ["asked", "body", "lifted", "parsed"]

T = TypeVar("T", bound=Model)


def body(kind: type[BaseModel], examples: Mapping[str, Any], *, form: bool = True) -> dict[str, Any]:
    """What OpenAPI says of such a request; `lifted` puts the parts that it names in their place.

    Args:
        kind: of the JSON.
        examples: by name.
        form: it may come as a form with a picture, too.
    """
    fields = {
        "type": "object",
        "properties": {
            "image": {"type": "string", "contentMediaType": "application/octet-stream"},
            "request": {"type": "string", "description": "The other fields, as JSON"},
        },
    }
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"required": True, "content": content | ({"multipart/form-data": {"schema": fields}} if form else {})}


def lifted(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document, changed: what the schemas of such requests define stands among the components.

    FastAPI looks for components in the arguments of routes only, so it misses what no other route takes or gives.
    """
    components = document.setdefault("components", {}).setdefault("schemas", {})
    for path in document["paths"].values():
        for operation in path.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for name, part in content["schema"].pop("$defs", {}).items():
                    components.setdefault(name, part)
    return document


def asked(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """Dependency: the request in a JSON body, or in a form with the picture as the file `image` and the rest as JSON in
    `request`. It raises BadInput where it is neither."""

    async def parse(request: Request) -> T:
        sent = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if sent == "multipart/form-data":
            async with request.form(max_files=1, max_fields=1) as form:
                text, image = form.get("request", "{}"), form.get("image")
                unknown = sorted(set(form) - {"request", "image"})
                if unknown or not isinstance(text, str) or not (image is None or isinstance(image, UploadFile)):
                    raise BadInput(
                        f"form fields {sorted(form)}: a form has the file `image` and the JSON text `request`"
                    )
                fields = parsed(text)
                if image is not None:
                    fields["image"] = await image.read()
                return kind.model_validate(fields)
        if sent != "application/json":
            raise BadInput(f"content type {sent!r}: send application/json or multipart/form-data")
        return kind.model_validate(parsed(await request.body()))

    return parse


def parsed(text: str | bytes) -> dict[str, Any]:
    """The object of a JSON body.

    Raises:
        BadInput: it is none.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the request is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadInput(f"the request is a JSON {type(fields).__name__}: it must be an object")
    return fields
