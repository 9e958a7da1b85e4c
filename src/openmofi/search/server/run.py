"""A server that listens, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from openmofi.errors import OpenMofiError
from openmofi.search.index import Index
from openmofi.search.server.app import create_app
from openmofi.search.server.observe import JsonLines, logger
from openmofi.search.server.settings import ServeSettings

_BACKLOG = 2048


def serve(index: Index, settings: ServeSettings = ServeSettings(), *, on_start: Callable[[str], None] | None = None,
          open_page: bool = False) -> None:
    """Serve an index until SIGINT or SIGTERM; requests in progress are answered before it ends.

    Args:
        index: opened.
        settings: where it listens, and what it lets in.
        on_start: called with the address as soon as it listens.
        open_page: show the page in the user's browser.

    Raises:
        OpenMofiError: the port is taken, or the encoder cannot be opened.
    """
    index.info()
    _log_as_json()
    config = uvicorn.Config(create_app(index, settings), host=settings.host, port=settings.port, log_config=None,
                            access_log=False, server_header=False, timeout_graceful_shutdown=int(settings.grace),
                            limit_concurrency=1000, h11_max_incomplete_event_size=64 << 10)
    server = uvicorn.Server(config)
    try:
        listening = config.bind_socket()
    except SystemExit as error:
        raise OpenMofiError(f"{settings.host}:{settings.port} cannot be listened on: it is taken, or not this "
                            "machine's.", "Give another --port or --host.") from error
    listening.listen(_BACKLOG)  # so that whoever is told the address can connect
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{listening.getsockname()[1]}/"
    if on_start:
        on_start(address)
    if open_page:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    # Uvicorn raises the signal again after it has stopped; a stop that was asked for is no failure.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
    server.run(sockets=[listening])


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in (logger.name, "uvicorn"):
        each = logging.getLogger(name)
        each.handlers, each.propagate = [handler], False
        each.setLevel(logging.INFO)
