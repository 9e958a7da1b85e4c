"""A server that listens, until it is told to stop."""

from __future__ import annotations

import asyncio
import html
import logging
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import uvicorn

from openmofi.errors import OpenMofiError
from openmofi.search.index import Index
from openmofi.search.server.access.connections import Connection, Connections, SeldomLogged
from openmofi.search.server.app import create_app
from openmofi.search.server.observe import JsonLines, logger
from openmofi.search.server.settings import ServeSettings

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
    http = partial(Connection, connections=Connections(settings))
    config = uvicorn.Config(
        create_app(index, settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.grace),
        http=cast(type[asyncio.Protocol], http),
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
    address = f"http://{host}:{listening.getsockname()[1]}/"
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
        _Server(config).run(sockets=[listening])


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
