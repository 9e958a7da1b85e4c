"""Sign in by the token, health, metrics."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from openmofi.search.server.answers import Refused, answer
from openmofi.search.server.guard import COOKIE
from openmofi.search.server.routes.shared import Shared

router = APIRouter()


@checked(frozen=True)
class TokenBody:
    """The server's token."""

    token: Annotated[str, Field(max_length=1024)]


@dataclass(frozen=True)
class Health:
    """That the server answers."""

    status: str


@router.post("/api/session", status_code=204)
def sign_in(body: TokenBody, request: Request, context: Shared) -> Response:
    """Exchange the token for a cookie, which images in pages are asked for with."""
    token = context.settings.token
    if token and not secrets.compare_digest(body.token.encode(), token.encode()):
        raise Refused(401, "This is not the server's token.", "The one who started the server knows it.")
    response = Response(status_code=204)
    response.set_cookie(COOKIE, context.session, httponly=True, samesite="strict",
                        secure=request.url.scheme == "https")
    return response


@router.delete("/api/session", status_code=204)
def sign_out() -> Response:
    """Forget the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.get("/healthz", response_model=Health)
def health(context: Shared) -> Response:
    """Whether the index can be read."""
    context.index.verdicts(limit=1)
    return answer(Health("ok"))


@router.get("/metrics", response_class=Response)
def metrics(context: Shared) -> Response:
    """For Prometheus."""
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
