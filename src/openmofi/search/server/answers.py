"""Records and errors as JSON; an error is a sentence, a hint, the request's id, and the status that fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from openmofi.errors import OpenMofiError, UnknownEntityError, UsageError
from openmofi.search.server.observe import logger
from openmofi.search.store.connection import UnavailableError


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Records, which are dataclasses, as an answer; numbers that are not finite become null."""
    return Response(encoded(value), status, dict(headers or {}), "application/json")


def encoded(value: Any) -> bytes:
    """JSON as UTF-8; names of files that are not UTF-8 are shown as far as they can be."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return msgspec.json.encode(json.loads(text.encode("utf-8", "replace")))


@dataclass(frozen=True)
class ErrorAnswer:
    """What a request that failed is answered with.

    Attributes:
        error: what happened.
        hint: what to do next, or "".
        request_id: under which the server's log has it.
    """

    error: str
    hint: str
    request_id: str


class Refused(OpenMofiError):
    """A request that is answered with a status of its own.

    Attributes:
        status: of HTTP.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.headers = dict(headers or {})


def error_answer(
    request_id: str, status: int, error: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """A failed request's answer."""
    return answer(ErrorAnswer(error, hint, request_id), status, headers)


def register(app: FastAPI) -> None:
    """Let all errors of an application be answered so."""

    async def known(request: Request, error: Exception) -> Response:
        if isinstance(error, UnavailableError):
            error = unavailable(request, error)
        status, message, hint, headers = _of(error)
        return error_answer(request.state.request_id, status, message, hint, headers)

    for kind in (OpenMofiError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, known)


def unavailable(request: Request, error: OpenMofiError) -> Refused:
    """503 for an index that cannot be read now. Why, and where it is, is for the log alone."""
    request_id = request.state.request_id
    logger.error("the index's database cannot be reached: %s", error, extra={"fields": {"request_id": request_id}})
    return Refused(
        503,
        "The index's database cannot be reached at the moment.",
        f"Try again in {_RETRY_SECONDS} seconds; the server's log says more under {request_id}.",
        {"Retry-After": str(_RETRY_SECONDS)},
    )


def _of(error: Exception) -> tuple[int, str, str, Mapping[str, str]]:
    if isinstance(error, Refused):
        return error.status, error.message, error.hint, error.headers
    if isinstance(error, OpenMofiError):
        status = 404 if isinstance(error, UnknownEntityError) else 422 if isinstance(error, UsageError) else 409
        return status, error.message, error.hint, {}
    if isinstance(error, RequestValidationError):
        if any(each["type"] == "json_invalid" for each in error.errors()):
            return 400, _NOT_JSON, _DESCRIBED, {}
        return 422, "; ".join(_sentence(each) for each in error.errors()[:5]) + ".", _DESCRIBED, {}
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        return 400, _NOT_JSON, _DESCRIBED, {}
    message = (
        error.detail
        if error.detail != HTTPStatus(error.status_code).phrase
        else _PHRASES.get(error.status_code, error.detail)
    )
    return error.status_code, message, "", error.headers or {}


_RETRY_SECONDS = 5
_PHRASES = {404: "There is nothing at this address.", 405: "This address does not take this method."}
_DESCRIBED = "See /api/openapi.json."
_NOT_JSON = "What was sent is not JSON that can be read."


def _sentence(error: Mapping[str, Any]) -> str:
    """What is wrong with which field; what was sent is not repeated."""
    where = ".".join(str(part) for part in error["loc"] if part != "body")
    return f"{where or 'the request'}: {error['msg'][0].lower()}{error['msg'][1:]}"
