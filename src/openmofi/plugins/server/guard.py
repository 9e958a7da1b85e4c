"""The guard of every request: sessions, limits on bodies and rates, its id, headers, log and metrics.

An ASGI middleware (https://asgi.readthedocs.io/en/latest/specs/www.html), outside of all routes.
"""

import asyncio
import hashlib
import hmac
import math
import re
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cached_property

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openmofi.plugins.server.messages import Metrics, Refused, error_answer, logger
from openmofi.plugins.server.settings import MOST_SENT, ServeSettings

_MOST, _LONGEST, _ROUNDS = 10_000, 30 * 24 * 3600, 200_000


def equal(given: str, expected: str) -> bool:
    """Whether two secrets are equal, compared in constant time."""
    return secrets.compare_digest(given.encode(), expected.encode())


class Sessions:
    """Sessions as signed cookies: they outlive a restart, and hold at every server that has the token.

    The value of a cookie is `TIME-NAME.SIGNATURE`. The key is derived from the token slowly, so that a cookie does not
    help to guess it. A session ends after 30 days, with another token, or when it is signed out of; the last is known
    to this server alone, until it stops.

    Args:
        token: of the server.
        clock: seconds since 1970.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token, self._clock = token, clock
        self._ended: OrderedDict[str, None] = OrderedDict()

    @cached_property
    def _key(self) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", self._token.encode(), b"openmofi session", _ROUNDS)

    def _signature(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), "sha256").hexdigest()

    def begin(self) -> str:
        """Return the cookie of a new session."""
        name = f"{int(self._clock())}-{secrets.token_urlsafe(16)}"
        return f"{name}.{self._signature(name)}"

    def has(self, cookie: str) -> bool:
        """Whether a cookie is that of a session that has not ended."""
        name, _, signature = cookie.partition(".")
        signed = equal(signature, self._signature(name))
        return signed and name not in self._ended and int(name.partition("-")[0]) + _LONGEST > self._clock()

    def end(self, cookie: str) -> None:
        """End the session of a cookie, if it is one; of more than 10,000 the first is forgotten."""
        if self.has(cookie):
            self._ended[cookie.partition(".")[0]] = None
            if len(self._ended) > _MOST:
                self._ended.popitem(last=False)


def cookie_name(port: int) -> str:
    """The name of the cookie: browsers send cookies to all ports of a host, so each server has a name of its own."""
    return f"openmofi_session_{port}"


SPARE = "spare"
"""Name in a request's state where its connection is one too many: such a request is answered only on `/healthz`."""
MCP, AGENT = "/mcp", "agent"
"""Address of the tools, and the name in a request's state of who gives verdicts by them."""
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

        It raises a `Refused`: 413 after `most` bytes, 408 where too few bytes arrive in the time that is given,
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
                raise Refused(408, "The request did not arrive in time.", headers={"Connection": "close"}) from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > most:
                raise Refused(413, TOO_LARGE, headers={"Connection": "close"})
            if size >= counted + settings.body_bytes:
                counted, deadline = size, loop.time() + settings.body_seconds
            # Of an upload that is too large the rest is forgotten as it comes.
            more = min(size, settings.max_upload_bytes) - held
            if self._held + more > self._held_bytes:
                raise Refused(
                    503, "Too much is being sent at once.", headers={"Connection": "close", "Retry-After": "5"}
                )
            held += more
            self._held += more
            return message

        try:
            yield limited
        finally:
            self._held -= held


SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; manifest-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_FRAMING = "http://127.0.0.1:* http://localhost:*"
"""Whose pages may frame that of a notebook: a server of notebooks on this machine."""


def security_headers(framed: bool) -> dict[str, str]:
    """The headers of every answer; see `ServeSettings.framed`."""
    if not framed:
        return SECURITY_HEADERS
    policy = SECURITY_HEADERS["Content-Security-Policy"].replace("ancestors 'none'", f"ancestors {_FRAMING}")
    kept = {name: value for name, value in SECURITY_HEADERS.items() if name != "X-Frame-Options"}
    return kept | {"Content-Security-Policy": policy}


READ_ON = 4
"""Times the size of the largest upload that is read, and forgotten, before an upload is refused as too large."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LENGTH = re.compile(r"[0-9]{1,15}")
_COSTS = {"/api/search": 4, "/api/facets": 8, "/api/recognise": 4, "/api/uploads": 8, "/api/session": 40}
_COSTS |= {"/api/labels.csv": 40, "/api/labels.parquet": 40, "/api/map/chosen": 8, MCP: 4}
_PICTURE = 4 * MOST_SENT // 3
"""Bytes of the largest picture that tools are sent, as base64."""
_CLIENT_GONE = 499
"""In the log and in metrics, as nginx has it: the client ended the connection before it had sent its request."""
_CLIENTS, _BURST = 10_000, 10.0


class Limits:
    """Token buckets, by client. Not for several threads: the event loop asks.

    Args:
        rate: tokens that a client gets a second; 0 for no limit. A bucket holds those of ten seconds.
        clock: seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, rate * _BURST, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> int:
        """Take tokens of a client; return 0 where it has them, else the seconds after which it will."""
        if not self._rate:
            return 0
        now = self._clock()
        left, when = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + (now - when) * self._rate)
        enough = left >= min(cost, self._most)
        self._buckets[client] = (left - cost if enough else left, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if enough else math.ceil((cost - left) / self._rate)


class Guard:
    """The middleware that guards every request.

    Args:
        app: what answers.
        settings: of the server.
        sessions: of those who have shown the token.
        metrics: of the server.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, sessions: Sessions, metrics: Metrics) -> None:
        self._app, self._settings, self._sessions, self._metrics = app, settings, sessions, metrics
        self._limits, self._bodies = Limits(settings.rate), Bodies(settings)
        self._headers = security_headers(settings.framed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), request_id, self._headers)
            await send(message)

        try:
            if refusal := self._refusal(scope, headers):
                await error_answer(request_id, refusal)(scope, receive, guarded)
            else:
                with self._bodies.limited(receive, self._most(scope)) as limited:
                    await self._app(scope, limited, guarded)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception:
            logger.exception("internal error", extra={"fields": {"request_id": request_id}})
            if status:
                raise  # the connection ends, so that nobody takes half an answer for a whole one
            wrong = Refused(500, "Something went wrong inside the server.", f"Its log says more under {request_id}.")
            await error_answer(request_id, wrong)(scope, receive, guarded)
        finally:
            self._note(scope, request_id, status, time.monotonic() - started)

    def _refusal(self, scope: Scope, headers: Headers) -> Refused | None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._settings.names is not None and name.lower() not in self._settings.names:
            return Refused(421, "This server is not addressed by that name.", "Start it with --allow-host NAME.")
        if scope["method"] not in ("GET", "HEAD") and _of_other_origin(headers, host):
            return Refused(403, "Requests from pages of other origins are refused.")
        path = scope["path"].rstrip("/")
        if path == "/healthz":  # supervisors are always answered
            return None
        if SPARE in scope["state"]:
            wait = {"Retry-After": "1", "Connection": "close"}
            return Refused(503, "The server is answering as many requests as it can.", "Try again in a second.", wait)
        client = scope["client"][0] if scope.get("client") else ""
        if seconds := self._limits.take(client, _cost(scope, path, headers)):
            return Refused(429, "Too many requests.", f"Try again in {seconds} seconds.", {"Retry-After": str(seconds)})
        length = headers.get("content-length", "0")
        if not _LENGTH.fullmatch(length) or int(length) > self._most(scope):
            return Refused(413, TOO_LARGE, headers={"Connection": "close"})
        if _is_private(path) and not self._is_known(scope, headers, path):
            how = "Send it as Authorization: Bearer TOKEN."
            return Refused(401, "This server asks for its token.", how, {"WWW-Authenticate": "Bearer"})
        return None

    def _most(self, scope: Scope) -> int:
        """Bytes of a body. A browser reads a refusal only after it has sent its file, so the route reads on."""
        if scope["path"] == "/api/uploads":
            return READ_ON * self._settings.max_upload_bytes
        return self._settings.max_json_bytes + (_PICTURE if scope["path"] == MCP else 0)

    def _is_known(self, scope: Scope, headers: Headers, path: str) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and path == MCP:
            agents = (each for each in self._settings.agents if equal(token.strip(), each.token))
            if agent := next(agents, None):
                scope["state"][AGENT] = agent.who
                return True
        elif not self._settings.token:
            return True
        if scheme.lower() == "bearer":  # an agent's that is misspelt is refused, also where none is asked for
            return bool(token.strip()) and equal(token.strip(), self._settings.token)
        return self._sessions.has(cookie_parser(headers.get("cookie", "")).get(cookie_name(scope["server"][1]), ""))

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # Not the path: it could be anything, and a counter for each would fill the memory.
        route = getattr(scope.get("route"), "path", "") or "none"
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        logger.info(
            "request",
            extra={
                "fields": {
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1000, 1),
                    "client": (scope.get("client") or [""])[0],
                }
            },
        )


class Below:
    """An ASGI application below a path that nobody guesses; at all other paths there is nothing.

    Browsers send a cookie of this machine to all of its ports, and pages of all ports may frame that of a notebook:
    below a path that they do not know, neither helps them.

    Args:
        app: the application, which sees its own paths, and this one as its `root_path`.
        path: begins with a slash, and does not end with one.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            above, rest = scope["path"][: len(self._path)], scope["path"][len(self._path) :]
            if not equal(above, self._path) or not rest.startswith("/"):
                request_id = uuid.uuid4().hex
                nothing = error_answer(request_id, Refused(404, "There is nothing at this address."))
                _add_headers(nothing.headers, request_id, SECURITY_HEADERS)
                await nothing(scope, receive, send)
                return
            scope = {**scope, "path": rest, "root_path": self._path}
        await self._app(scope, receive, send)


def _cost(scope: Scope, path: str, headers: Headers) -> int:
    """Tokens that a request takes; the page with a token in its address is a sign-in, and what tools are sent is read
    by the event loop: it costs by its size, and the most where that is not said.
    """
    if path == "" and b"token=" in scope["query_string"]:
        path = "/api/session"
    if path == MCP:
        length = headers.get("content-length", str(_PICTURE) if "transfer-encoding" in headers else "0")
        return _COSTS[MCP] + min(int(length) if _LENGTH.fullmatch(length) else _PICTURE, _PICTURE) // 100_000
    return _COSTS.get(path, 4 if path.endswith("/recognise") else 1)


def _is_private(path: str) -> bool:
    return (path.startswith("/api/") and path != "/api/session") or path in ("/api", "/metrics", MCP)


def _of_other_origin(headers: Headers, host: str) -> bool:
    """Whether a browser says that a page of another origin asks."""
    origin = headers.get("origin")
    return (origin is not None and origin.partition("://")[2] != host) or headers.get(
        "sec-fetch-site", "same-origin"
    ) not in ("same-origin", "none")


def _add_headers(headers: MutableHeaders, request_id: str, security: Mapping[str, str]) -> None:
    headers["X-Request-ID"] = request_id
    for name, value in security.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")
