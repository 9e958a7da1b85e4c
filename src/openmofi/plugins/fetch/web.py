"""Downloads one image: URL, robots.txt, redirects, limits, retries. Anything but an image is a `Failure`."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import random
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from protego import Protego
from yarl import URL

from openmofi.errors import first_line
from openmofi.pairs.images.decode import ImageRefused, image_size
from openmofi.pairs.images.memory import of_machine
from openmofi.plugins.fetch import FetchSettings

REDIRECTS = 5
WAIT, MOST_WAIT = 0.5, 60.0
"""Seconds before the second try, twice as many before each further one; a server that asks for more is left alone."""
_REFUSALS = frozenset({"noai", "noimageai", "noindex", "noimageindex"})
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_ROBOTS_BYTES, _MOST_RULES = 512 << 10, 20_000
_LARGE, _LARGE_AT_ONCE = 4 << 20, 8
_CHUNK, _PULSE = 1 << 16, 0.05
_KEPT, _MANY = 5.0, 16_384
"""Seconds that a connection stays open for another request, where a process may open so many files."""
_PRIVATE = "is not a public address"
_ENDS = (
    (aiohttp.ConnectionTimeoutError, "connection timed out after {0.connect_timeout:g} s", True),
    (aiohttp.SocketTimeoutError, "no data received for {0.read_timeout:g} s", True),
    (TimeoutError, "timed out after {0.timeout:g} s", True),
    (aiohttp.ClientConnectorCertificateError, "invalid TLS certificate", False),
    (aiohttp.ClientPayloadError, "the response was cut off", True),
    (aiohttp.ClientResponseError, "invalid HTTP response", True),
)
"""Errors, the first that fits: why there is no response, and whether another try may help."""
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


class Failure(Exception):
    """There is no image.

    Attributes:
        why: the reason, one phrase.
        status: `failed_to_download` or `failed_to_decode`.
        http_status: of the last response; 0 where there was none.
        again: whether another try may help.
        wait: seconds that the server asks to wait before.
    """

    def __init__(
        self, why: str, *, decoded: bool = False, http_status: int = 0, again: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(why)
        self.why, self.http_status, self.again, self.wait = why, http_status, again, wait
        self.status = "failed_to_decode" if decoded else "failed_to_download"


@dataclass(frozen=True)
class Fetched:
    """An image: its bytes as received, its size in pixels, and its URL after redirects."""

    image: bytes
    width: int
    height: int
    url: str


@dataclass(frozen=True)
class _Response:
    status: int
    headers: Mapping[str, Any]
    body: bytes


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet; one that embeds another is judged by that, too."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip in _TRANSLATED:
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    inner = (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if isinstance(ip, ipaddress.IPv6Address) else ()
    return all(is_public(str(each)) for each in inner if each)


def public_socket(address: tuple[Any, ...]) -> socket.socket:
    """Open the socket for a connection. It is asked with the address that is connected to, whatever a name resolved to
    before.
    """
    family, kind, protocol, _, (ip, *_) = address
    if not is_public(ip):
        raise OSError(errno.EACCES, f"{ip} {_PRIVATE}")
    return socket.socket(family, kind, protocol)


class Web:
    """A client for many images; made, used and closed in one event loop.

    Args:
        settings: see there.
    """

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._slots, self._large = asyncio.Semaphore(settings.concurrency), asyncio.Semaphore(_LARGE_AT_ONCE)
        self._rules: dict[URL, Protego] = {}
        self._asking: dict[URL, asyncio.Task[Protego | Failure]] = {}
        self._due: dict[str, float] = {}
        self._pulse = asyncio.create_task(_pulse())
        # Names are resolved in threads, of which there are few by default.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(min(settings.concurrency, 64)))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=settings.per_host,
                ttl_dns_cache=300,
                socket_factory=None if settings.allow_private else public_socket,
                **({"keepalive_timeout": _KEPT} if _many_files() else {"force_close": True}),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": settings.user_agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(settings.timeout, None, settings.read_timeout, settings.connect_timeout),
        )

    async def close(self) -> None:
        """Close the connections."""
        self.forget()
        self._pulse.cancel()
        await self._session.close()

    def forget(self) -> None:
        """Forget which hosts did not say what they allow: they are asked again."""
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()
        self._due.clear()

    async def image(self, url: str) -> Fetched:
        """Fetch an image; try again where that may help.

        Raises:
            Failure: there is none.
        """
        final, response = await self._retried(_checked(url))
        try:
            return Fetched(response.body, *image_size(response.body), str(final))
        except ImageRefused as refused:
            raise Failure(f"{refused.status}: {refused.why}", decoded=True, http_status=response.status) from refused

    async def _retried(self, url: URL, *, robots: bool = False) -> tuple[URL, _Response]:
        number = 0
        while True:
            try:
                return await self._followed(url, robots=robots)
            except Failure as failure:
                if not failure.again or number == self._settings.retries or failure.wait > MOST_WAIT:
                    raise
                wait = max(failure.wait, min(WAIT * 2**number, MOST_WAIT) * random.uniform(1, 2))
            await asyncio.sleep(wait)
            number += 1

    async def _followed(self, url: URL, *, robots: bool) -> tuple[URL, _Response]:
        for _ in range(REDIRECTS + 1):
            if not robots and not self._settings.ignore_robots:
                await self._ask_robots(url)
            response = await self._got(url, _ROBOTS_BYTES if robots else self._settings.max_bytes, robots)
            if response.status not in _MOVED or "Location" not in response.headers:
                break
            url = _checked(response.headers["Location"], url)
        else:
            raise Failure(f"more than {REDIRECTS} redirects", http_status=response.status)
        if response.status != 200:
            wait = _seconds(response.headers.get("Retry-After", ""))
            raise Failure(
                f"HTTP status {response.status}" + (f", try again after {wait:g} s" if wait > MOST_WAIT else ""),
                http_status=response.status,
                again=response.status in _BUSY,
                wait=wait,
            )
        return url, response

    async def _ask_robots(self, url: URL) -> None:
        origin = url.origin()
        rules: Protego | Failure | None = self._rules.get(origin)
        if rules is None:
            if origin not in self._asking:
                self._asking[origin] = asyncio.create_task(self._read_rules(origin))
            rules = await self._asking[origin]
        if isinstance(rules, Failure):
            raise Failure(f"robots.txt cannot be read: {rules.why}", http_status=rules.http_status)
        if not rules.can_fetch(str(url), self._settings.agent):
            raise Failure("robots.txt disallows it")

    async def _read_rules(self, origin: URL) -> Protego | Failure:
        """What a host allows, by RFC 9309: everything where it has no rules, nothing where they cannot be read."""
        try:
            _, response = await self._retried(origin / "robots.txt", robots=True)
            body = response.body
        except Failure as failure:
            if not 400 <= failure.http_status < 500 or failure.http_status == 429:
                return failure
            body = b""
        if len(self._rules) >= _MOST_RULES:
            self._rules.clear()
        self._rules[origin] = Protego.parse(body.decode("utf-8", "replace"))
        return self._rules[origin]

    async def _got(self, url: URL, most: int, robots: bool) -> _Response:
        """Send one request; the body is read where the status is 200."""
        await self._turn(url.host or "")
        try:
            async with self._slots, self._session.get(url, allow_redirects=False) as response:
                body = b""
                if response.status == 200:
                    if not robots and not self._settings.allow_noai:
                        _require_welcome(response.headers.getall("X-Robots-Tag", []), self._settings.agent)
                    body = await self._body(response, most, robots)
                return _Response(response.status, response.headers, body)
        except Failure:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if of_machine(getattr(error, "os_error", error)):
                raise
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Failure:
        for kind, why, again in _ENDS:
            if isinstance(error, kind):
                return Failure(why.format(self._settings), again=again)
        if not isinstance(error, aiohttp.ClientConnectorError):
            return Failure(first_line(error), again=not isinstance(error, ValueError))
        said = error.os_error.strerror or first_line(error.os_error)
        again = _PRIVATE not in said and error.os_error.errno != socket.EAI_NONAME
        return Failure(f"connection failed: {said}", again=again)

    async def _turn(self, host: str) -> None:
        """Wait until another request to a host may begin."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._due.get(host, now))
        self._due[host] = start + self._settings.host_interval
        await asyncio.sleep(start - now)

    async def _body(self, response: Any, most: int, cut: bool) -> bytes:
        """Read a body of at most `most` bytes; a longer one is `cut`, or a failure. Few large ones are read at once."""
        body = bytearray()
        too_long = Failure(f"larger than {most:,} bytes", http_status=response.status)
        if (response.content_length or 0) > most and not cut:
            raise too_long
        async with AsyncExitStack() as held:
            async for part in response.content.iter_chunked(_CHUNK):
                if len(body) <= _LARGE < len(body) + len(part):
                    await held.enter_async_context(self._large)
                body += part
                if len(body) > most and cut:
                    return bytes(body[:most])
                if len(body) > most:
                    raise too_long
        return bytes(body)


def _many_files() -> bool:
    """Whether this process may open thousands of files, as far as it can allow itself: idle connections are files."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard == resource.RLIM_INFINITY else min(_MANY, hard)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted == _MANY


async def _pulse() -> None:
    """Use a little CPU: by that an engine knows that a worker is alive, and waiting for the web takes none."""
    while True:
        await asyncio.sleep(_PULSE)


def _checked(text: str, base: URL | None = None) -> URL:
    """Parse a URL, which may be relative to `base`.

    Raises:
        Failure: it is not an http or https URL.
    """
    try:
        url = URL(text.strip())
        url = base.join(url) if base else url
        if url.scheme in ("http", "https") and url.host:
            return url.with_fragment(None)
    except ValueError as error:
        raise Failure(f"invalid URL: {first_line(error)}") from error
    raise Failure("the URL is not an absolute http or https URL")


def host_of(url: str | None) -> str:
    """Return the host of a URL; "" if it has none."""
    try:
        return _checked(url or "").host or ""
    except Failure:
        return ""


def _require_welcome(tags: list[str], agent: str) -> None:
    """Refuse an image whose `X-Robots-Tag` does; `NAME: directives` are for the agent of this name alone."""
    for tag in map(str.lower, tags):
        name, colon, directives = tag.partition(":")
        if not colon or "," in name:  # a directive with a colon of its own, behind others
            name, directives = agent, tag
        if name.strip() == agent and (refused := _REFUSALS & set(map(str.strip, directives.split(",")))):
            raise Failure(f"X-Robots-Tag: {min(refused)}", http_status=200)


def _seconds(text: str) -> float:
    """Return the seconds of a `Retry-After`, which is a number or a date; 0 where it is neither."""
    try:
        return max(0.0, float(text) if text.strip().isdecimal() else _until(text))
    except (ValueError, TypeError):
        return 0.0


def _until(text: str) -> float:
    when = parsedate_to_datetime(text)
    return (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
