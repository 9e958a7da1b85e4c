"""The page of an index in a notebook."""

import secrets
import threading
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

from openmofi.errors import MissingExtraError
from openmofi.plugins.server.settings import ServeSettings
from openmofi.search.index import Index


class _Page:
    """A server of the page in a thread of its own, on a free port of this machine."""

    def __init__(self, index: Index) -> None:
        try:
            from openmofi.plugins.server.app import create_app
            from openmofi.plugins.server.guard import Below
            from openmofi.plugins.server.run import bound
        except ModuleNotFoundError as error:
            raise MissingExtraError.of(error.name or "fastapi", "serve") from error
        index.info()
        self._settings = ServeSettings(port=0, framed=True)
        app = create_app(index, self._settings)
        self._context = app.state.context
        path = f"/{secrets.token_urlsafe(16)}"
        self._server, listening, address = bound(Below(app, path), self._settings)
        self._address = f"{address.rstrip('/')}{path}/"
        run = {"sockets": [listening]}
        self._thread = threading.Thread(target=self._server.run, kwargs=run, name="openmofi-page", daemon=True)
        self._thread.start()

    def address(self) -> str:
        """An address that opens the page once, within ten minutes: a notebook keeps it, and is given to others."""
        return f"{self._address}?{urlencode({'token': self._context.ticket()})}"

    def close(self) -> None:
        """Stop the server."""
        self._server.should_exit = True
        self._thread.join(self._settings.grace + 5)


_pages: dict[Index, _Page] = {}


def show(index: Index, closing: ExitStack, height: int) -> Any:
    """See `Index.show`.

    Args:
        index: opened.
        closing: stops the server when it is closed.
        height: in pixels.
    """
    try:
        from IPython.display import IFrame
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("ipython") from error
    if index not in _pages:
        page = _pages[index] = _Page(index)
        closing.callback(page.close)
        closing.callback(_pages.pop, index)
    return IFrame(_pages[index].address(), width="100%", height=height)
