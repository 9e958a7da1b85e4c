"""Where a published base lies: a folder, a store or a web server; reads its files in blocks, from any byte on."""

from __future__ import annotations

import socket
from collections.abc import Generator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fsspec.asyn import get_loop, sync

from openmofi.errors import MissingExtraError
from openmofi.storage.addresses import HTTP_TIMEOUT_SECONDS, filesystem_of, store_errors
from openmofi.storage.digests import BLOCK

_ASKED = 4 * BLOCK
_REFUSED = range(400, 500)
_LATER = (404, 408, 410, 425, 429)
"""Of these, which do not mean that the server refuses: what is missing, and what another try may bring."""


def read_blocks(path: str, start: int, end: int) -> Generator[bytes]:
    """Yield the bytes of a file from `start` to `end`, in blocks; fewer where the file is shorter.

    Args:
        path: local path or address.
        start, end: offsets in bytes.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        OSError: the connection or the server failed; another try may help.
        MissingExtraError: the package that reads such addresses is not installed.
    """
    if path.startswith(("http://", "https://")):
        yield from _from_web(path, start, end)
        return
    filesystem, name = filesystem_of(path)
    while start < end:
        asked = min(_ASKED, end - start)
        with store_errors(path):
            block = filesystem.cat_file(name, start=start, end=start + asked)
        yield block
        start += asked
        if len(block) < asked:
            return


def _from_web(url: str, start: int, end: int) -> Generator[bytes]:
    """See `read_blocks`. A server that knows no ranges sends what is there already once more."""
    call = partial(sync, get_loop())
    with store_errors(url):
        session = call(_session, _is_private(url))
        try:
            response = call(_get, session, url, start)
            skipped = start if response.status == 200 else 0
            while start < end and (block := call(response.content.read, BLOCK)):
                skipped, block = max(0, skipped - len(block)), block[skipped:][: end - start]
                start += len(block)
                yield block
        finally:
            call(session.close)


def _is_private(url: str) -> bool:
    """Whether a host is on a private network or this machine; then it may redirect to others that are."""
    try:
        from openmofi.plugins.fetch.web import is_public
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "aiohttp", "fetch") from error
    parts = urlsplit(url)
    return not all(is_public(str(found[4][0])) for found in socket.getaddrinfo(parts.hostname, parts.port))


async def _session(allow_private: bool) -> Any:
    import aiohttp

    from openmofi.plugins.fetch.web import public_socket

    wait = HTTP_TIMEOUT_SECONDS
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=None if allow_private else public_socket),
        headers={"Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=wait, sock_read=wait),
    )


async def _get(session: Any, url: str, start: int) -> Any:
    response = await session.get(url, headers={"Range": f"bytes={start}-"} if start else {})
    if response.status in _REFUSED and response.status not in _LATER:
        raise PermissionError(f"the server answered {response.status} ({response.reason})")
    response.raise_for_status()
    return response
