"""Search, recognition, uploads, and what the index holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from openmofi.search.records import IndexInfo, Recognition, Results
from openmofi.search.server.answers import Refused, answer
from openmofi.search.server.requests import RecogniseBody, SearchBody, region_of
from openmofi.search.server.routes.shared import Direct, Shared
from openmofi.search.server.uploads import Upload
from openmofi.search.store.database import meta
from openmofi.version import __version__

router = APIRouter(prefix="/api")
_PATIENCE = 120
"""Seconds that an upload may take."""


@dataclass(frozen=True)
class ServerInfo(IndexInfo):
    """What an index holds, and what its server takes.

    Attributes:
        version: of OpenMOFI.
        token: whether requests need one.
        map: whether it has a map of the collection.
        max_upload_bytes, max_upload_pixels: see `ServeSettings`.
    """

    version: str
    token: bool
    map: bool
    max_upload_bytes: int
    max_upload_pixels: int


async def search(body: SearchBody, context: Shared) -> Response:
    """The images that answer a query, best first."""
    # Examples are decoded, which takes time; all else is not worth another thread.
    query = await run_in_threadpool(body.query, context.example) if body.examples else body.query(context.example)
    vector = await context.encoder.vector(query) if query.has_vector else None
    return await asyncio.get_running_loop().run_in_executor(
        context.searching, lambda: answer(context.index.search(query, vector))
    )


router.add_api_route("/search", search, methods=["POST"], response_model=Results, route_class_override=Direct)


@router.get("/info", response_model=ServerInfo)
def info(context: Shared) -> Response:
    """What the index holds."""
    held, settings = context.index.info(), context.settings
    return answer(
        ServerInfo(
            **{each.name: getattr(held, each.name) for each in fields(IndexInfo)},
            version=__version__,
            token=bool(settings.token),
            map="map" in meta(context.index.connection),
            max_upload_bytes=settings.max_upload_bytes,
            max_upload_pixels=settings.max_upload_pixels,
        )
    )


@router.post("/recognise", response_model=Recognition)
async def recognise(body: RecogniseBody, context: Shared) -> Response:
    """What an image may show, with probabilities and evidence."""
    return answer(await context.recognised(body.image, body.upload, region_of(body.region), body.limit))


@router.post("/uploads", response_model=Upload, status_code=201)
async def upload(request: Request, context: Shared) -> Response:
    """Send an image, as the body, to search with; it is kept in memory for an hour at most."""
    try:
        async with asyncio.timeout(_PATIENCE):
            data = await _received(request, context.settings.max_upload_bytes)
    except TimeoutError as error:
        raise Refused(
            408, f"The image did not arrive within {_PATIENCE} seconds.", "Try again.", {"Connection": "close"}
        ) from error
    async with context.decoding:
        return answer(await run_in_threadpool(context.uploads.add, data), 201)


async def _received(request: Request, most: int) -> bytes:
    """The body. One that is too large is read to its end and forgotten: browsers read no answer before that."""
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            parts.append(part)
        else:
            parts.clear()
    if size > most:
        raise Refused(
            413, f"This file has {size / 1e6:.0f} MB, more than {most / 1e6:.0f} MB.", "Send a smaller image."
        )
    return b"".join(parts)
