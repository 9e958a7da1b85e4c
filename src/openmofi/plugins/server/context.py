"""What the routes of one server share: the queue before the encoder, uploads, decoded images."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TypeVar

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from openmofi.arrays import Array, Octets
from openmofi.encoders.preprocess import as_image, bounded
from openmofi.engine.protocol import cores
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ImageRefused
from openmofi.pairs.images.decode import decoding
from openmofi.plugins.server.guard import Sessions, cookie_name, equal
from openmofi.plugins.server.messages import Metrics, Refused
from openmofi.plugins.server.plane import Plane
from openmofi.plugins.server.settings import ServeSettings
from openmofi.schema import PairStatus
from openmofi.search.index import Index
from openmofi.search.query import Example, Query, Region
from openmofi.search.rank.queries import cropped
from openmofi.search.rank.state import LRUCache
from openmofi.search.records import ImageRecord, Recognition

KEPT_BYTES, KEPT_SECONDS = 512 << 20, 3600.0
TICKET_SECONDS = 600.0
_REFUSALS = {
    PairStatus.IMAGE_TOO_LARGE: (413, "This image has too many pixels"),
    PairStatus.IMAGE_UNSUPPORTED_FORMAT: (415, "Images of this format are not read"),
}


@dataclass(frozen=True)
class Upload:
    """An uploaded image.

    Attributes:
        upload: by which queries name it.
        width, height: upright, in pixels.
    """

    upload: str
    width: int
    height: int


def size_of(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height of bytes that someone sent, which decoding shows to be an image.

    Raises:
        Refused: they are none, of an unread format (415), or of more pixels (413).
    """
    try:
        with decoding(data, max_pixels=max_pixels) as decoded:
            return decoded.width, decoded.height
    except ImageRefused as refused:
        status, what = _REFUSALS.get(refused.status, (422, "This is not an image that can be read"))
        hint = "Send a JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF."
        raise Refused(status, f"{what}: {refused.why}.", hint) from refused


class Uploads:
    """Uploaded images by their tokens; the oldest are forgotten first. Threads may share it.

    Args:
        max_pixels: larger images are refused.
        kept_bytes, kept_seconds: how much is kept, and how long.
    """

    def __init__(self, max_pixels: int, kept_bytes: int = KEPT_BYTES, kept_seconds: float = KEPT_SECONDS) -> None:
        self._max_pixels, self._kept_bytes, self._kept_seconds = max_pixels, kept_bytes, kept_seconds
        self._held: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._lock = Lock()

    def add(self, data: bytes) -> Upload:
        """Check that these bytes are an image, decoding it, and keep them.

        Raises:
            Refused: they are none, of an unread format (415), or too large (413).
        """
        upload = Upload(secrets.token_urlsafe(16), *size_of(data, self._max_pixels))
        with self._lock:
            self._held[upload.upload] = (time.monotonic(), data)
            self._forget()
        return upload

    def get(self, upload: str) -> bytes:
        """The bytes of an upload.

        Raises:
            Refused: it is unknown, or was forgotten.
        """
        with self._lock:
            self._forget()
            if upload not in self._held:
                raise Refused(404, "This upload is not there any more.", "Upload the image again.")
            return self._held[upload][1]

    def _forget(self) -> None:
        oldest = time.monotonic() - self._kept_seconds
        total = sum(len(data) for _, data in self._held.values())
        while self._held:
            made, data = next(iter(self._held.values()))
            if made >= oldest and total <= self._kept_bytes:
                return
            self._held.popitem(last=False)
            total -= len(data)


T = TypeVar("T")
_Waiting = tuple[Query, "asyncio.Future[Array | None]"]


class EncoderQueue:
    """The queue of queries before the encoder of an index.

    While a batch is computed the next one gathers, so that a busy encoder has large batches and an idle one no delay
    other than `wait`.

    Args:
        index: whose encoder.
        batch: most queries of a batch.
        wait: seconds that the first query of a batch waits for others.
        observe: called with the size of each batch.
    """

    def __init__(self, index: Index, batch: int, wait: float, observe: Callable[[int], object]) -> None:
        self._index, self._batch, self._wait, self._observe = index, batch, wait, observe
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def vector(self, query: Query) -> Array | None:
        """The query's vector, see `Index.vectors_of`.

        Raises:
            OpenMofiError: as `Index.vectors_of`.
        """
        future: asyncio.Future[Array | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def call(self, function: Callable[[], T]) -> T:
        """Run what needs the encoder in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        await asyncio.sleep(self._wait)
        while self._waiting:
            # Whoever has gone away meanwhile needs no vector.
            batch = [(query, future) for query, future in self._waiting if not future.cancelled()]
            batch, self._waiting = batch[: self._batch], batch[self._batch :]
            if batch:
                await self._compute(batch)

    async def _compute(self, batch: list[_Waiting]) -> None:
        self._observe(len(batch))
        outcomes: Sequence[Array | Exception | None]
        try:
            outcomes = await self.call(lambda: self._index.vectors_of([query for query, _ in batch]))
        except Exception as error:
            if isinstance(error, OpenMofiError) and len(batch) > 1:
                for each in batch:  # one of them is at fault, the others are not
                    await self._compute([each])
                return
            outcomes = [error] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.cancelled():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


_DECODED = 64 << 20
"""Bytes of decoded examples that are kept."""


@dataclass(frozen=True)
class Context:
    """What the routes of one server share.

    Attributes:
        index: that is served.
        settings: of the server.
        metrics: of the server.
        uploads: of its clients.
        encoder: the queue before the index's encoder.
        decoded: pixels of examples, by the name of their bytes and the region.
        searching: threads that search: more than cores take turns and answer nobody sooner.
        counting: how many searches may be counted at once, so that threads are left for all else.
        plane: the map of the index.
        decoding: how many uploads may be decoded at once, since each takes memory.
        tickets: tokens that open the page once → when they were made, by `clock`.
        clock: seconds.
    """

    index: Index
    settings: ServeSettings
    metrics: Metrics
    uploads: Uploads
    encoder: EncoderQueue
    decoded: LRUCache[Octets] = field(default_factory=lambda: LRUCache(_DECODED, lambda pixels: pixels.nbytes))
    searching: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max(cores(), 2), "search"))
    counting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    plane: Plane = field(default_factory=Plane)
    decoding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))
    tickets: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    @cached_property
    def sessions(self) -> Sessions:
        """The sessions of those who have shown the token."""
        return Sessions(self.settings.token)

    def admits(self, token: str) -> bool:
        """Whether a token in the page's address is the server's, or a ticket, which this uses up."""
        ticket = next((each for each in tuple(self.tickets) if equal(token, each)), None)
        if ticket is None:
            return bool(self.settings.token) and equal(token, self.settings.token)
        made = self.tickets.pop(ticket, None)  # nothing where another thread was faster
        return made is not None and self.clock() - made < TICKET_SECONDS

    def ticket(self) -> str:
        """A token that opens the page once, within ten minutes."""
        ticket = secrets.token_urlsafe(32)
        self.tickets[ticket] = self.clock()
        return ticket

    def pixels(self, named: str, read: Callable[[], bytes], region: Region | None = None) -> Octets:
        """The part of an image that is meant, (height, width, 3), decoded in the thread that asks: the encoder's has
        enough to do. At most 4 megapixels, so that many queries fit into memory. Those asked for last are kept, since
        a list comes in pages, each of which is a request.

        Args:
            named: what no other bytes have as their name.
            read: gives the encoded bytes.
            region: the part; the whole where not given.

        Raises:
            OpenMofiError: it cannot be read or decoded, or the encoder cannot be opened.
        """
        if (cached := self.decoded.get((named, region))) is not None:
            return cached
        return self.decoded.put((named, region), self._decoded(read(), region))

    def _decoded(self, data: bytes, region: Region | None) -> Octets:
        image = as_image(data, self.index.encoder.preprocessing, max_pixels=self.settings.max_upload_pixels)
        return np.asarray(bounded(cropped(image, region)))

    def sent(self, data: bytes, region: Region | None) -> Example:
        """An image that came with a query. It is not kept: others' uploads are not forgotten for it.

        Raises:
            Refused: as `size_of`.
            OpenMofiError: as `pixels`.
        """
        size_of(data, self.settings.max_upload_pixels)
        return Example(self._decoded(data, region))

    def example(self, image: int | None, upload: str, region: Region | None) -> Example:
        """An image of a query, uploads and parts of images as pixels.

        Raises:
            UsageError: neither an image nor an upload is given, or both are.
            OpenMofiError: there is no such image or upload, or it cannot be decoded.
        """
        if (image is None) == (not upload):
            raise UsageError("An example is either an image or an upload.", "Give one of the two.")
        if image is None:
            data = self.uploads.get(upload)  # refused where it was forgotten, whatever is kept
            return Example(self.pixels(upload, lambda: data, region))
        record = self.image(image)
        if region is None:  # the index has its vector
            return Example(record.id)
        return Example(self.pixels(f"image {record.content}", lambda: self.index.image_bytes(record.id), region))

    async def recognised(self, image: int | None, upload: str, region: Region | None, limit: int) -> Recognition:
        """What an image may show.

        Raises:
            UsageError, OpenMofiError: as `example` and `Index.recognise`.
        """
        if image is None:
            meant, region = (await run_in_threadpool(self.example, image, upload, region)).image, None
        else:  # by its id, so that it is no evidence of itself
            meant = (await run_in_threadpool(self.example, image, upload, None)).image
        return await self.encoder.call(lambda: self.index.recognise(meant, region, limit))

    @classmethod
    def of(cls, index: Index, settings: ServeSettings) -> Context:
        """Make the context of a server that is to start."""
        metrics = Metrics()
        queue = EncoderQueue(index, settings.batch, settings.wait, metrics.batches.observe)
        return cls(index, settings, metrics, Uploads(settings.max_upload_pixels), queue)

    def image(self, image: int) -> ImageRecord:
        """An image by its id.

        Raises:
            Refused: there is none (404).
        """
        records = self.index.images([image])
        if not records:
            raise Refused(404, f"The index has no image {image}.", "It may have been removed.")
        return records[0]


async def context_of(request: Request) -> Context:
    """A dependency of routes; one that did not say `async` would be called in a thread."""
    return request.app.state.context


def with_session(response: Response, request: Request, context: Context, *, ended: bool = False) -> Response:
    """A response that begins a session, since the one who asks has shown the token; or that ends it."""
    framed = context.settings.framed
    response.set_cookie(
        cookie_name(request.scope["server"][1]),
        "" if ended else context.sessions.begin(),
        max_age=0 if ended else None,
        path=request.scope["root_path"] or "/",
        httponly=True,
        samesite="none" if framed else "strict",
        secure=request.url.scheme == "https" or framed,
    )
    if (
        framed
    ):  # a notebook's page is of another site, whose frames get no other cookies; Starlette asks for Python 3.14
        response.headers["Set-Cookie"] += "; Partitioned"
    return response
