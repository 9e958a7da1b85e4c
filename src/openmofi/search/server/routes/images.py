"""Images by their ids: the index says where they lie, no path comes from a client."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from openmofi.errors import OpenMofiError
from openmofi.search.query import Region
from openmofi.search.records import ImageRecord, Recognition
from openmofi.search.server.answers import Refused, answer
from openmofi.search.server.reading import TextReading, reading_of
from openmofi.search.server.routes.shared import Few, ImageId, Shared, Short

router = APIRouter(prefix="/api/images")
# What browsers show as an image and can't run; anything else is saved to a file.
_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"GIF8", "image/gif", "gif"),
    (b"BM", "image/bmp", "bmp"),
)


@router.get("/{image}", response_model=ImageRecord)
def record(image: ImageId, context: Shared) -> Response:
    """What is known of an image."""
    return answer(context.image(image))


@router.get("/{image}/thumbnail", response_class=Response)
def thumbnail(image: ImageId, request: Request, context: Shared) -> Response:
    """A small WebP of it."""
    etag = f'"{context.image(image).content}-t"'
    if cached := _cached(request, etag):
        return cached
    return Response(_readable(lambda: context.index.thumbnail(image)), headers=_kept(etag), media_type="image/webp")


@router.get("/{image}/original", response_class=Response)
def original(image: ImageId, request: Request, context: Shared) -> Response:
    """Its bytes as they lie on the disk."""
    etag = f'"{context.image(image).content}"'
    if cached := _cached(request, etag):
        return cached
    data = _readable(lambda: context.index.image_bytes(image))
    kind, suffix = _type(data)
    disposition = "attachment" if kind == "application/octet-stream" else "inline"
    # Not by the file's own name, which could hold anything.
    named = f'{disposition}; filename="image-{image}.{suffix}"'
    return Response(data, headers={**_kept(etag), "Content-Disposition": named}, media_type=kind)


@router.get("/{image}/recognise", response_model=Recognition)
async def recognise(image: ImageId, context: Shared, region: Short = "", limit: Few = 10) -> Response:
    """What an image of the index may show; `region` is `left,top,right,bottom` in fractions."""
    return answer(await context.recognised(image, "", Region.parse(region) if region else None, limit))


@router.get("/{image}/reading", response_model=TextReading)
def reading(image: ImageId, context: Shared) -> Response:
    """How the label job read its text: mentions, candidates and their scores."""
    return answer(reading_of(context.index, context.image(image).id, context.settings.labels))


def _readable(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OpenMofiError as error:
        raise Refused(404, error.message, error.hint) from error


def _kept(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, max-age=60"}


def _cached(request: Request, etag: str) -> Response | None:
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=_kept(etag))
    return None


def _type(data: bytes) -> tuple[str, str]:
    """Content type and suffix by the bytes, whatever the file is called."""
    for magic, kind, suffix in _MAGIC:
        if data.startswith(magic):
            return kind, suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif", "avif"
    return "application/octet-stream", "bin"
