"""Images by their ids: the index says where they lie, no path comes from a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow.compute as pc
from fastapi import APIRouter, Request, Response

from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.search.index import Index
from openmofi.search.query import Region
from openmofi.search.records import EntityRecord, ImageRecord, Recognition
from openmofi.search.server.answers import Refused, answer
from openmofi.search.server.routes.shared import Few, ImageId, Shared, Short
from openmofi.search.store.reading import entity_records


@dataclass(frozen=True)
class Mention:
    """Where a text names something, see `openmofi.schema.MENTION`.

    Attributes:
        start, end: in the text, in code points.
        surface, detector, reason: what it says, who saw it, why it is boilerplate or "".
        kind: which column of texts it was found in, where the label job was told of several, or "".
    """

    start: int
    end: int
    surface: str
    detector: str
    reason: str
    kind: str


@dataclass(frozen=True)
class Candidate:
    """An entity that a mention may mean, judged by the image; see `openmofi.schema.JUDGEMENT`.

    Attributes:
        entity, name, description: see `openmofi.schema.Entity`.
        mention: position of its mention.
        prior, link_score, image_score: of the linker and the encoder; `None` where there is none.
        probability, accepted, reason: the verdict of the label job.
    """

    entity: str
    name: str
    description: str
    mention: int
    prior: float | None
    link_score: float | None
    image_score: float | None
    probability: float | None
    accepted: bool
    reason: str


@dataclass(frozen=True)
class TextReading:
    """How an image's text was read.

    Attributes:
        text, status: of the pair.
        mentions: in the order of the text.
        candidates: of all mentions, likeliest first.
    """

    text: str
    status: str
    mentions: tuple[Mention, ...]
    candidates: tuple[Candidate, ...]


def reading_of(index: Index, image: int, labels: str = "") -> TextReading:
    """How the text of an image was read.

    Args:
        index: that has the image.
        image: its id.
        labels: the folder of labels, where it is not the one that the index was built of.

    Raises:
        Refused: the image was not labelled (404).
        OpenMofiError: the labels cannot be read.
    """
    record = index.image(image)
    ((built,),) = index.connection.execute(
        "SELECT labels FROM sources JOIN images ON images.source = sources.id WHERE images.id = ?", (image,)
    )
    if not (labels or built):
        raise Refused(404, f"Image {image} is not of a folder of labels.", "Build the index of labels.")
    folder = Folder.open(labels or built, "labels")
    shard = next((each for each in folder.shards if each.name == record.shard), None)
    table = folder.read(shard) if shard else None
    row = next(iter(table.filter(pc.equal(table["key"], record.key)).to_pylist()), None) if table else None
    if row is None:
        raise Refused(404, f"{folder.path} has no row {record.shard}/{record.key}.", "Bring the index up to date.")
    candidates = sorted(row["entities"] or (), key=lambda each: -(each["probability"] or 0.0))
    known = entity_records(index.connection, [each["entity"] for each in candidates])
    return TextReading(
        row["text"] or "",
        row["status"],
        tuple(
            Mention(
                each["start"],
                each["end"],
                each["surface"],
                each["detector"],
                each["reason"] or "",
                each.get("kind") or "",
            )
            for each in row["mentions"] or ()
        ),
        tuple(
            Candidate(
                each["entity"],
                entity.name,
                entity.description,
                each["mention"],
                each["prior"],
                each["link_score"],
                each["image_score"],
                each["probability"],
                bool(each["accepted"]),
                each["reason"] or "",
            )
            for each in candidates
            for entity in [known.get(each["entity"], EntityRecord(each["entity"], each["entity"]))]
        ),
    )


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
