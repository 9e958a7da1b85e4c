"""Bodies of requests on their way in: each has to keep coming, and together they fit into memory."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from openmofi.search.server.settings import ServeSettings

TOO_LARGE = "The request is too large."
_HELD_BYTES = 512 << 20
"""Of all bodies that are being received or worked on."""


class Bodies:
    """The bodies of one server's requests. Only the event loop uses it.

    Args:
        settings: of the server.
        held_bytes: a body that would take more memory than this together with the others is refused.
    """

    def __init__(self, settings: ServeSettings, held_bytes: int = _HELD_BYTES) -> None:
        self._settings, self._held_bytes, self._held = settings, held_bytes, 0

    @contextmanager
    def limited(self, receive: Receive, most: int) -> Generator[Receive]:
        """A request's `receive`, while the request is answered.

        It raises an `HTTPException`: 413 after `most` bytes, 408 where too few bytes arrive in the time that is given,
        503 where all bodies together take too much memory.
        """
        settings, loop = self._settings, asyncio.get_running_loop()
        size = counted = 0
        held, whole = 0, False
        deadline = loop.time() + settings.body_seconds

        async def limited() -> Message:
            nonlocal size, counted, held, whole, deadline
            if whole:  # what comes now is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The request did not arrive in time.", {"Connection": "close"}) from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > most:
                raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
            if size >= counted + settings.body_bytes:
                counted, deadline = size, loop.time() + settings.body_seconds
            # Of an upload that is too large the rest is forgotten as it comes.
            more = min(size, settings.max_upload_bytes) - held
            if self._held + more > self._held_bytes:
                raise HTTPException(503, "Too much is being sent at once.", {"Connection": "close", "Retry-After": "5"})
            held += more
            self._held += more
            return message

        try:
            yield limited
        finally:
            self._held -= held
