"""Errors as RFC 9457 problem details: what is wrong, where, and the way out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger("facings.serving")
_HINTS = {
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take that method; /docs lists what it takes.",
}


class ProblemDetail(BaseModel):
    """RFC 9457, with the field that is wrong where one is."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


class Problem(Exception):  # noqa: N818 - the standard's word
    """A request that cannot be answered."""

    def __init__(self, status: int, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field


def problem_response(
    status: int, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The JSON of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if field is not None:
        body["field"] = field
    known = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return Response(orjson.dumps(body), status, {**known, **(headers or {})}, media_type="application/problem+json")


def from_validation(error: ValidationError) -> Problem:
    """The first thing that is wrong with a body: 400 when it is not JSON at all, else 422 with the field."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Problem(400, "The body is not valid JSON; send a JSON object.")
    field = ".".join(str(part) for part in first["loc"]) or None
    where = f"`{field}`: " if field else ""
    return Problem(422, f"{where}{first['msg'].removeprefix('Value error, ')}.", field=field)


class UnexpectedErrors:
    """Answers what no handler foresaw (`unexpected`); the log never gets a value that could be a shopper's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            response = unexpected(error)
            if scope["type"] == "http" and not started:
                await response(scope, receive, send)


def unexpected(error: Exception) -> Response:
    """The answer to what no handler foresaw, once the log has the kind and the place."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    _LOG.error("unexpected %s at %s", type(error).__name__, where)
    return problem_response(500, "The server met an unexpected error; its log names the kind and the place.")


def add_handlers(app: FastAPI) -> None:
    """Answer every error as a problem; an unexpected one tells nothing of the inside."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error.status, error.detail, error.field)

    async def http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = _HINTS.get(error.status_code, str(error.detail))
        return problem_response(error.status_code, detail, headers=error.headers)

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http_error)
    app.add_middleware(UnexpectedErrors)
