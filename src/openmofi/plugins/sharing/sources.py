"""Reads files of a folder, a store or a web server in blocks, from any byte on, and again after errors."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fsspec.asyn import get_loop, sync

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.storage.addresses import HTTP_TIMEOUT_SECONDS, filesystem_of, store_errors
from openmofi.storage.digests import BLOCK
from openmofi.version import __version__

AGENT = f"openmofi/{__version__}"
"""`User-Agent` of requests to web servers."""
CONTINUES = "start the same command again: it continues where it stopped."
_TRIES = 5
_WAIT = 1.0
"""Seconds before the second try in a row that brings nothing, twice as many before each further one."""
_ASKED = 4 * BLOCK
_REFUSED = frozenset(range(400, 500)) - {404, 408, 410, 425, 429}
"""Statuses by which a server refuses; of the others a file is missing, or another try may help."""


def read_blocks(path: str, start: int, end: int, missing: str, agent: str = AGENT) -> Generator[bytes]:
    """Yield the bytes of a file from `start` to `end`, in blocks; fewer where the file is shorter.

    Args:
        path: local path or address.
        start, end: offsets in bytes.
        missing: what to do where there is no such file.
        agent: `User-Agent` header for web servers.

    Raises:
        MissingExtraError: the package that reads such addresses is not installed.
        OpenMofiError: there is no such file, or it may not be read; the connection or the server failed in several
            tries that brought nothing.
    """
    web = path.startswith(("http://", "https://"))
    failed, read = 0, partial(_from_web, agent=agent) if web else _from_store
    while start < end:
        try:
            for block in read(path, start, end):
                failed, start = 0, start + len(block)
                yield block
            return
        except FileNotFoundError as error:
            raise OpenMofiError(f"{path} is missing.", missing) from error
        except (OSError, ValueError) as error:
            failed += 1
            if failed == _TRIES or isinstance(error, PermissionError | ValueError):
                raise OpenMofiError(
                    f"{path} cannot be read: {error}.", f"Check the address, and {CONTINUES}"
                ) from error
        time.sleep(_WAIT * 2 ** (failed - 1))


def _from_store(path: str, start: int, end: int) -> Generator[bytes]:
    filesystem, name = filesystem_of(path)
    for begin in range(start, end, _ASKED):
        asked = min(_ASKED, end - begin)
        with store_errors(path):
            block = filesystem.cat_file(name, start=begin, end=begin + asked)
        yield block
        if len(block) < asked:
            return


def _from_web(url: str, start: int, end: int, agent: str) -> Generator[bytes]:
    """See `read_blocks`. A server that knows no ranges sends what is there already once more."""
    call = partial(sync, get_loop())
    with store_errors(url):
        session = call(_session, url, agent)
        try:
            response = call(session.get, url, headers={"Range": f"bytes={start}-"} if start else {})
            if response.status in _REFUSED:
                raise PermissionError(f"the server answered {response.status} ({response.reason})")
            response.raise_for_status()
            skipped = start if response.status == 200 else 0
            while start < end and (block := call(response.content.read, BLOCK)):
                skipped, block = max(0, skipped - len(block)), block[skipped:][: end - start]
                start += len(block)
                yield block
        finally:
            call(session.close)


async def _session(url: str, agent: str) -> Any:
    """Return a client that follows redirects to private networks only where `url` itself is on one."""
    try:
        import aiohttp

        from openmofi.plugins.fetch.web import is_public, public_socket
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "aiohttp", "fetch") from error
    there = urlsplit(url)
    public = all(is_public(str(found[4][0])) for found in socket.getaddrinfo(there.hostname, there.port))
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=public_socket if public else None),
        headers={"Accept-Encoding": "identity", "User-Agent": agent},
        timeout=aiohttp.ClientTimeout(None, sock_connect=HTTP_TIMEOUT_SECONDS, sock_read=HTTP_TIMEOUT_SECONDS),
    )
