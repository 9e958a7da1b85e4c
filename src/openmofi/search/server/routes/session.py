"""Sign in by the token, health, metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from openmofi.errors import OpenMofiError
from openmofi.search.server.access.sessions import cookie_name, equal
from openmofi.search.server.answers import Refused, answer, unavailable
from openmofi.search.server.context import with_session
from openmofi.search.server.routes.shared import Shared

router = APIRouter()


@checked(frozen=True)
class TokenBody:
    """The server's token."""

    token: Annotated[str, Field(max_length=1024)]


@dataclass(frozen=True)
class Health:
    """That the server answers, or that it is ready."""

    status: str


@router.post("/api/session", status_code=204)
def sign_in(body: TokenBody, request: Request, context: Shared) -> Response:
    """Exchange the token for a cookie, which images in pages are asked for with."""
    token = context.settings.token
    if token and not equal(body.token, token):
        raise Refused(401, "This is not the server's token.", "The one who started the server knows it.")
    return with_session(Response(status_code=204), request, context)


@router.delete("/api/session", status_code=204)
def sign_out(request: Request, context: Shared) -> Response:
    """End the session and forget the cookie."""
    name = cookie_name(request.scope["server"][1])
    context.sessions.end(request.cookies.get(name, ""))
    response = Response(status_code=204)
    response.delete_cookie(name, httponly=True, samesite="strict")
    return response


@router.get("/healthz", response_model=Health)
async def health() -> Response:
    """Whether the server answers; it looks at nothing else, and answers whatever limit is reached."""
    return answer(Health("ok"))


@router.get("/readyz", response_model=Health)
def ready(request: Request, context: Shared) -> Response:
    """Whether the index can be read; 503 where it can't be."""
    try:
        context.index.verdicts(limit=1)
    except OpenMofiError as error:
        raise unavailable(request, error) from error
    return answer(Health("ok"))


@router.get("/metrics", response_class=Response)
def metrics(context: Shared) -> Response:
    """For Prometheus."""
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
