"""Run a server until it is told to stop; its open connections: how many there may be, and which one makes room."""

from __future__ import annotations

import asyncio
import errno
import html
import logging
import signal
import socket
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from openmofi.errors import OpenMofiError
from openmofi.plugins.server.app import create_app
from openmofi.plugins.server.guard import SPARE
from openmofi.plugins.server.messages import JsonLines, logger
from openmofi.plugins.server.settings import ServeSettings
from openmofi.search.index import Index

# Uvicorn leaves connections to a proxy before it: its `limit_concurrency` counts idle ones too and refuses everybody
# once they are many, and no time-out runs before the first request. Hypercorn has a time-out for reads and Granian one
# for headers; neither limits what each client has, or makes room for those who have a request.

_SWEEP_SECONDS = 1.0
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LOG_SECONDS = 60.0


class Connections:
    """The open connections of one server. Only the event loop uses it.

    Where there are too many, or too many of one client, the one that is missed least is closed: first those that have
    sent no request yet, then those that wait for the next one, then those whose body is on its way, then those that do
    not take their answer; of these the one that has been so for longest. What is being answered is never closed.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._most, self._most_of_client = settings.most_connections, settings.most_of_client
        self._by_client: dict[str, dict[HttpConnection, None]] = {}
        self._sweeping = False

    def __len__(self) -> int:
        return sum(map(len, self._by_client.values()))

    def add(self, connection: HttpConnection) -> bool:
        """Count a new connection and make room for it; return whether it is one too many, since all others are being
        answered.

        Args:
            connection: that was just made.
        """
        mine = self._by_client.setdefault(connection.host, {})
        mine[connection] = None
        if not self._sweeping:
            self._sweep_later(connection.loop)
        if len(mine) > self._most_of_client and not self._settings.is_proxy(connection.host):
            return not self._make_room(mine, connection)
        if len(self) > self._most:
            return not self._make_room(max(self._by_client.values(), key=len), connection)
        return False

    def touch(self, connection: HttpConnection) -> None:
        """Move a connection behind all others of its client: what it does now has just begun."""
        mine = self._by_client.get(connection.host, {})
        if connection in mine:
            del mine[connection]
            mine[connection] = None

    def remove(self, connection: HttpConnection) -> None:
        """No longer count a connection."""
        mine = self._by_client.get(connection.host, {})
        mine.pop(connection, None)
        if not mine:
            self._by_client.pop(connection.host, None)

    def _make_room(self, among: dict[HttpConnection, None], new: HttpConnection) -> bool:
        missed: HttpConnection | None = None
        for each in among:
            if each is new or each.worth is None:
                continue
            if missed is None or each.worth < (missed.worth or 0):
                missed = each
            if missed.worth == 0:
                break
        if missed is None:
            return False
        self.remove(missed)
        missed.transport.abort()
        return True

    def _sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = True
        shortest = min(self._settings.header_seconds, self._settings.unread_seconds)
        loop.call_later(min(_SWEEP_SECONDS, shortest / 2), self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now, settings = loop.time(), self._settings
        for connection in [each for mine in self._by_client.values() for each in mine]:
            if (
                connection.unread_for(now) > settings.unread_seconds
                or now - (connection.header_began or now) > settings.header_seconds
            ):
                connection.transport.abort()
        self._sweeping = False
        if self._by_client:
            self._sweep_later(loop)


class HttpConnection(H11Protocol):
    """A connection, as uvicorn speaks HTTP over it; an idle one it closes after `timeout_keep_alive`.

    Attributes:
        host: the client's address; "" where it has none.
        header_began: when the client began to send a request, or connected; `None` while no headers are awaited.
    """

    def __init__(self, *args: Any, connections: Connections, **named: Any) -> None:
        super().__init__(*args, **named)
        self._connections = connections
        self.host = ""
        self.header_began: float | None = None
        self._unread, self._moved = 0, 0.0

    @property
    def worth(self) -> int | None:
        """How much it is missed, see `Connections`; `None` while it is being answered."""
        if self.cycle is None:
            return 0
        if self.transport.get_write_buffer_size():
            return 3
        if self.cycle.response_complete:
            return 1
        return 2 if self.cycle.more_body else None

    def unread_for(self, now: float) -> float:
        """Seconds in which the client has taken nothing of what is there for it."""
        size = self.transport.get_write_buffer_size()
        if size != self._unread or not size:
            self._unread, self._moved = size, now
        return now - self._moved

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection."""
        super().connection_made(transport)
        self.host = self.client[0] if self.client else ""
        self.header_began = self.loop.time()
        if self._connections.add(self):
            self.app_state = {**self.app_state, SPARE: True}

    def data_received(self, data: bytes) -> None:
        """Note when a request begins."""
        before = self.cycle
        if self.header_began is None and (before is None or before.response_complete):
            self.header_began = self.loop.time()
        super().data_received(data)
        if self.cycle is not before:
            self._requested()

    def on_response_complete(self) -> None:
        """Note when an answer is complete; requests that were sent ahead begin here."""
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before:
            self._requested()
        else:
            self._connections.touch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """No longer count the connection."""
        self._connections.remove(self)
        super().connection_lost(exc)

    def _requested(self) -> None:
        self.header_began = None
        self._connections.touch(self)


class SeldomLogged:
    """An event loop's exception handler that says once a minute, not for each connection, that none can be accepted."""

    def __init__(self) -> None:
        self._said, self._count = -_LOG_SECONDS, 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """See `asyncio.loop.set_exception_handler`."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _FULL):
            loop.default_exception_handler(context)
            return
        self._count += 1
        if (now := time.monotonic()) - self._said >= _LOG_SECONDS:
            logger.error(
                "no connection can be accepted: %s (%d times); raise the limit (ulimit -n)", error, self._count
            )
            self._said, self._count = now, 0


_BACKLOG, _ACCEPTED = 2048, 16
"""Connections that wait to be accepted, at most, and those that are accepted at once before others make room."""


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(SeldomLogged())
        await super().startup(sockets)
        for each in sockets or ():  # asyncio accepts as many at once as it lets wait
            each.listen(_BACKLOG)


def serve(
    index: Index,
    settings: ServeSettings | None = None,
    *,
    on_start: Callable[[str], None] | None = None,
    open_page: bool = False,
) -> None:
    """Serve an index until SIGINT or SIGTERM; requests in progress are answered before it ends.

    Args:
        index: opened.
        settings: where it listens, and what it lets in; `ServeSettings()` where not given.
        on_start: called with the page's address as soon as it listens; it ends with `?token=…` where the settings made
            a token.
        open_page: show the page in the user's browser.

    Raises:
        OpenMofiError: the port is taken, or the encoder cannot be opened.
    """
    settings = settings or ServeSettings()
    index.info()
    _log_as_json()
    server, listening, address = bound(create_app(index, settings), settings)
    signed_in = f"{address}?{urlencode({'token': settings.token})}"
    if on_start:
        on_start(signed_in if settings.made_token else address)
    # Uvicorn raises the signal again after it has stopped; a stop that was asked for is no failure.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="openmofi-") as folder:
        if open_page:
            page = redirecting(Path(folder), signed_in).as_uri() if settings.token else address
            threading.Timer(0.5, webbrowser.open, [page]).start()
        server.run(sockets=[listening])


def bound(app: ASGIApp, settings: ServeSettings) -> tuple[uvicorn.Server, socket.socket, str]:
    """A server that is to run, with the socket on which it listens already, and its address.

    Raises:
        OpenMofiError: the port is taken.
    """
    http = partial(HttpConnection, connections=Connections(settings))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.grace),
        http=cast("type[asyncio.Protocol]", http),
        loop="asyncio",
        backlog=_ACCEPTED,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        h11_max_incomplete_event_size=64 << 10,
    )
    try:
        listening = config.bind_socket()
    except SystemExit as error:
        raise OpenMofiError(
            f"{settings.host}:{settings.port} cannot be listened on: it is taken, or not this machine's.",
            "Give another --port or --host.",
        ) from error
    listening.listen(_BACKLOG)  # so that whoever is told the address can connect
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return _Server(config), listening, f"http://{host}:{listening.getsockname()[1]}/"


def redirecting(folder: Path, address: str) -> Path:
    """A page in a folder of this user alone that leads to an address. The address holds the token, and every user of
    the machine can see what a browser is started with.
    """
    page = folder / "open.html"
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(address)}">', "utf-8")
    return page


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in (logger.name, "uvicorn"):
        each = logging.getLogger(name)
        each.handlers, each.propagate = [handler], False
        each.setLevel(logging.INFO)
