"""The addresses of the API: what they take, and what they answer with."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import pyarrow.compute as pc
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import Meta
from starlette.concurrency import run_in_threadpool

from openmofi.arrays import Array
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.plugins.map.tiles import DEEPEST
from openmofi.plugins.server.context import Context, Upload, context_of, with_session
from openmofi.plugins.server.facets import Facets, facets_of
from openmofi.plugins.server.guard import cookie_name, equal
from openmofi.plugins.server.messages import (
    KEPT,
    Packed,
    RecogniseBody,
    Refused,
    SearchBody,
    TokenBody,
    answer,
    described,
    encoded,
    not_modified,
    query_of,
    sent,
    unavailable,
)
from openmofi.plugins.server.plane import ChoiceBody, MapAnswer, MapChosen, MapPlaces, places_of
from openmofi.search.index import Index
from openmofi.search.query import ImageIds, Region
from openmofi.search.query import Query as SearchQuery
from openmofi.search.records import (
    Candidate,
    EntityImage,
    EntityRecord,
    ImageRecord,
    IndexInfo,
    Mention,
    Recognition,
    Results,
    TextReading,
)
from openmofi.search.store.database import meta
from openmofi.search.store.reading import entity_records
from openmofi.version import __version__

router = APIRouter()
Shared = Annotated[Context, Depends(context_of)]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
EntityId = Annotated[str, Path(min_length=1, max_length=512)]
Short = Annotated[str, Query(max_length=512)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Few = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Level = Annotated[int, Path(ge=0, le=2**20)]
Tile = Annotated[int, Path(ge=0, lt=2**DEEPEST)]
State = Annotated[int, Query(ge=0, le=2**63 - 1)]
Chosen = Annotated[ImageIds, Meta(min_length=1)]

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


@router.post("/api/search", response_model=Results, openapi_extra=described(SearchBody))
async def search(body: Annotated[Any, sent(SearchBody)], context: Shared) -> Response:
    """The images that answer a query, best first."""
    query, vector = await _asked(body, context)
    return await asyncio.get_running_loop().run_in_executor(
        context.searching, lambda: answer(context.index.search(query, vector))
    )


@router.post("/api/facets", response_model=Facets, openapi_extra=described(SearchBody))
async def facets(body: Annotated[Any, sent(SearchBody)], context: Shared) -> Response:
    """How many images of a search have which type, entity, probability, verdict, folder, date and columns."""
    query, vector = await _asked(body, context)
    # Beside the threads that search, which nobody waits for who only counts.
    async with context.counting:
        return await run_in_threadpool(lambda: answer(facets_of(context.index, query, vector)))


async def _asked(body: Any, context: Context) -> tuple[SearchQuery, Array | None]:
    # Examples are decoded, which takes time; all else is not worth another thread.
    make = partial(query_of, body, context.example)
    query = await run_in_threadpool(make) if body.examples else make()
    return query, await context.encoder.vector(query) if query.has_vector else None


@router.get("/api/info", response_model=ServerInfo)
def info(context: Shared) -> Response:
    """What the index holds."""
    settings = context.settings
    return answer(
        ServerInfo(
            **vars(context.index.info()),
            version=__version__,
            token=bool(settings.token),
            map="map" in meta(context.index.connection),
            max_upload_bytes=settings.max_upload_bytes,
            max_upload_pixels=settings.max_upload_pixels,
        )
    )


@router.post("/api/recognise", response_model=Recognition, openapi_extra=described(RecogniseBody))
async def recognise(body: Annotated[RecogniseBody, sent(RecogniseBody)], context: Shared) -> Response:
    """What an image may show, with probabilities and evidence."""
    return answer(await context.recognised(body.image, body.upload, body.part, body.limit))


@router.post("/api/uploads", response_model=Upload, status_code=201)
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


@dataclass(frozen=True)
class Health:
    """That the server answers, or that it is ready."""

    status: str


@router.post("/api/session", status_code=204, openapi_extra=described(TokenBody))
def sign_in(body: Annotated[TokenBody, sent(TokenBody)], request: Request, context: Shared) -> Response:
    """Exchange the token for a cookie, which images in pages are asked for with."""
    token = context.settings.token
    if token and not equal(body.token, token):
        raise Refused(401, "This is not the server's token.", "The one who started the server knows it.")
    return with_session(Response(status_code=204), request, context)


@router.delete("/api/session", status_code=204)
def sign_out(request: Request, context: Shared) -> Response:
    """End the session and forget the cookie."""
    context.sessions.end(request.cookies.get(cookie_name(request.scope["server"][1]), ""))
    return with_session(Response(status_code=204), request, context, ended=True)


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


@router.get("/api/images/{image}", response_model=ImageRecord)
def image_record(image: Number, context: Shared) -> Response:
    """What is known of an image."""
    return answer(context.image(image))


@router.get("/api/images/{image}/thumbnail", response_class=Response)
def thumbnail(image: Number, request: Request, context: Shared, of: Short = "") -> Response:
    """A small WebP of it; where `of` is its `content`, clients may keep it for ever."""
    content = context.image(image).content
    headers = _cache_headers(content, "-t")
    if "ETag" in headers and of == content:
        headers["Cache-Control"] = f"private, {KEPT}"
    if unchanged := not_modified(request, headers):
        return unchanged
    return Response(_readable(lambda: context.index.thumbnail(image)), headers=headers, media_type="image/webp")


@router.get("/api/images/{image}/original", response_class=Response)
def original(image: Number, request: Request, context: Shared) -> Response:
    """Its bytes as they lie on the disk."""
    headers = _cache_headers(context.image(image).content)
    if unchanged := not_modified(request, headers):
        return unchanged
    data = _readable(lambda: context.index.image_bytes(image))
    kind, suffix = _type(data)
    disposition = "attachment" if kind == "application/octet-stream" else "inline"
    # Not by the file's own name, which could hold anything.
    named = f'{disposition}; filename="image-{image}.{suffix}"'
    return Response(data, headers=headers | {"Content-Disposition": named}, media_type=kind)


@router.get("/api/images/{image}/recognise", response_model=Recognition)
async def recognise_image(image: Number, context: Shared, region: Short = "", limit: Few = 10) -> Response:
    """What an image of the index may show; `region` is `left,top,right,bottom` in fractions."""
    return answer(await context.recognised(image, "", Region.parse(region) if region else None, limit))


@router.get("/api/images/{image}/reading", response_model=TextReading)
def reading(image: Number, context: Shared) -> Response:
    """How the label job read its text: mentions, candidates and their scores."""
    return answer(reading_of(context.index, context.image(image), context.settings.labels))


def reading_of(index: Index, image: ImageRecord, labels: str = "") -> TextReading:
    """How the text of an image was read, by `labels`, or by the folder of labels that the index was built of.

    Raises:
        Refused: the image was not labelled (404).
        OpenMofiError: the labels cannot be read.
    """
    source = "SELECT labels FROM sources JOIN images ON images.source = sources.id WHERE images.id = ?"
    ((built,),) = index.connection.execute(source, (image.id,))
    if not (labels or built):
        raise Refused(404, f"Image {image.id} is not of a folder of labels.", "Build the index of labels.")
    folder = Folder.open(labels or built, "labels")
    shard = next((each for each in folder.shards if each.name == image.shard), None)
    table = folder.read(shard) if shard else None
    row = next(iter(table.filter(pc.equal(table["key"], image.key)).to_pylist()), None) if table else None
    if row is None:
        raise Refused(404, f"{folder.path} has no row {image.shard}/{image.key}.", "Bring the index up to date.")
    judged = sorted(row["entities"] or (), key=lambda each: -(each["probability"] or 0.0))
    candidates = [each | {"accepted": bool(each["accepted"]), "reason": each["reason"] or ""} for each in judged]
    records = entity_records(index.connection, [each["entity"] for each in candidates])
    entities = [records.get(each["entity"], EntityRecord(each["entity"], each["entity"])) for each in candidates]
    mentions = [{"kind": None} | each for each in row["mentions"] or ()]
    return TextReading(
        row["text"] or "",
        row["status"],
        tuple(Mention(**each | {"reason": each["reason"] or "", "kind": each["kind"] or ""}) for each in mentions),
        tuple(
            Candidate(name=entity.name, description=entity.description, **each)
            for each, entity in zip(candidates, entities, strict=True)
        ),
    )


def _readable(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OpenMofiError as error:
        raise Refused(404, error.message, error.hint) from error


def _cache_headers(content: str, kind: str = "") -> dict[str, str]:
    """With an ETag of the content's digits; anything else, of a damaged index, names no content."""
    etag = {"ETag": f'"{content}{kind}"'} if re.fullmatch("[0-9a-f]+", content) else {}
    return {"Cache-Control": "private, max-age=60", **etag}


# What browsers show as an image and can't run; anything else is saved to a file.
_SHOWN = (
    (rb"\xff\xd8\xff", "image/jpeg", "jpg"),
    (rb"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (rb"GIF8", "image/gif", "gif"),
    (rb"BM", "image/bmp", "bmp"),
    (rb"RIFF.{4}WEBP", "image/webp", "webp"),
    (rb".{4}ftypavi[fs]", "image/avif", "avif"),
)


def _type(data: bytes) -> tuple[str, str]:
    """Content type and suffix by the bytes, whatever the file is called."""
    matches = ((kind, suffix) for start, kind, suffix in _SHOWN if re.match(start, data, re.DOTALL))
    return next(matches, ("application/octet-stream", "bin"))


# An entity's id may have slashes, so that what is said of it is matched before the id alone.
@router.get("/api/entities", response_model=list[EntityRecord])
def entities(context: Shared, prefix: Short = "", type: Short = "", limit: Limit = 100, offset: Offset = 0) -> Response:
    """Entities whose names begin with `prefix`, those with most images first."""
    if not prefix:
        return answer(context.index.entities(type=type, limit=limit, offset=offset))
    named = context.index.complete(prefix, limit + offset)
    return answer([each for each in named if not type or type in each.types][offset:])


@router.get("/api/entities/{entity:path}/images", response_model=list[EntityImage])
def entity_images(
    entity: EntityId,
    context: Shared,
    order: Literal["sure", "doubt"] = "sure",
    accepted: bool | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Images that were judged to show it."""
    context.index.entity(entity)
    return answer(context.index.entity_images(entity, order=order, accepted=accepted, limit=limit, offset=offset))


@router.get("/api/entities/{entity:path}/similar", response_model=list[EntityRecord])
def similar_entities(entity: EntityId, context: Shared, limit: Few = 10) -> Response:
    """Entities that it may be mistaken for."""
    return answer(context.index.similar_entities(entity, limit))


@router.get("/api/entities/{entity:path}", response_model=EntityRecord)
def entity_record(entity: EntityId, context: Shared) -> Response:
    """An entity."""
    return answer(context.index.entity(entity))


@router.get("/api/map", response_model=MapAnswer)
def collection_map(request: Request, context: Shared) -> Response:
    """What the map of `openmofi index map` shows, and its tiles."""
    data = encoded(context.plane.answer(context.index.connection))
    return _tagged(request, data, "application/json")


@router.get("/api/map/tiles/{level}/{x}/{y}", response_class=Response)
def map_tile(level: Level, x: Tile, y: Tile, state: State, request: Request, context: Shared) -> Response:
    """Images of a tile of the map, as `Plane.tile` lays them out (openmofi.plugins.server); `state` is the map's."""
    data = context.plane.tile(context.index.connection, state, level, x, y)
    return _tagged(request, data, "application/octet-stream")


def _tagged(request: Request, data: bytes, kind: str) -> Response:
    """With an ETag of the bytes: whatever index is served at this address by then, others are not taken for them."""
    headers = {"ETag": f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"', "Cache-Control": "no-cache"}
    return not_modified(request, headers) or Packed(data, headers=headers, media_type=kind)


@router.post("/api/map/chosen", response_model=MapChosen, openapi_extra=described(ChoiceBody))
async def map_chosen(body: Annotated[Any, sent(ChoiceBody)], context: Shared) -> Response:
    """The images that a lasso or an area of the map chooses."""
    async with context.counting:
        return await run_in_threadpool(lambda: answer(context.plane.chosen(context.index.connection, body)))


@router.post("/api/map/places", response_model=MapPlaces, openapi_extra=described(Chosen))
def map_places(body: Annotated[Any, sent(Chosen)], context: Shared) -> Response:
    """Where images lie on the map, by a list of ids."""
    return answer(places_of(context.index.connection, body))


@router.post("/api/images", response_model=list[ImageRecord], openapi_extra=described(Chosen))
def images(body: Annotated[Any, sent(Chosen)], context: Shared) -> Response:
    """Images by their ids, in this order; those that are no longer there are left out."""
    return answer(context.index.images(body))
