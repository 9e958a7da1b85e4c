"""The map of the collection, and the images that were chosen on it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from pydantic import Field

from openmofi.search.records import ImageRecord
from openmofi.search.server.answers import answer
from openmofi.search.server.plane import MapAnswer, map_answer
from openmofi.search.server.requests import Id
from openmofi.search.server.routes.shared import Shared
from openmofi.search.store.database import last_commit

router = APIRouter(prefix="/api")
Chosen = Annotated[list[Id], Field(min_length=1, max_length=1000), Body()]


@router.get("/map", response_model=MapAnswer)
def whole(request: Request, context: Shared) -> Response:
    """Where each image lies on the map of `openmofi index map`."""
    headers = {"ETag": f'"{last_commit(context.index.connection)}-map"', "Cache-Control": "no-cache"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return answer(map_answer(context.index), headers=headers)


@router.post("/images", response_model=list[ImageRecord])
def chosen(body: Chosen, context: Shared) -> Response:
    """Images by their ids, in this order; those that are no longer there are left out."""
    return answer(context.index.images(body))
