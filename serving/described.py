"""How routes describe themselves in the OpenAPI document: they read and write bytes, so it is said by hand."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from serving.problems import ProblemDetail

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": words, "content": {"application/problem+json": {"schema": ProblemDetail.model_json_schema()}}}
    for code, words in {
        400: "the body is not JSON",
        401: "a token is needed",
        403: "the token is for something else",
        404: "there is no such placement or screen",
        413: "the body is too large",
        415: "the body is of another type than JSON",
        422: "a field does not fit; `field` names it",
        503: "nothing was ingested yet",
    }.items()
}


def takes(body: type[BaseModel]) -> dict[str, Any]:
    """The body of a request."""
    schema = body.model_json_schema()
    schema = _whole(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _whole(schema: Any, parts: dict[str, Any]) -> Any:
    """The schema with its parts in their places: a reference would point into the document around it."""
    if isinstance(schema, list):
        return [_whole(inner, parts) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {key: _whole(inner, parts) for key, inner in schema.items()}


def gives(answer: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The answer where all is well."""
    return {200: {"model": answer}}


class _Json(Response):
    """Bytes of JSON, with the two headers that they need."""

    def init_headers(self, headers: object = None) -> None:
        """Without what the framework looks through to make the same."""
        length = str(len(self.body)).encode()
        self.raw_headers = [(b"content-length", length), (b"content-type", b"application/json")]


def json_response(content: Any) -> Response:
    """An answer as JSON, encoded once."""
    return _Json(orjson.dumps(content))
