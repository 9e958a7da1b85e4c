"""Servers that take and give JSON, as plug-ins reach them: few tries, bounded time and size, no redirects.

Time is bounded from byte to byte and, once the headers are there, for the body; headers that trickle are waited for.

- Needs: `pip install 'openmofi[judge]'`; a server's token, if it wants one, as `OPENAI_API_KEY`
- Never: follows redirects, or writes the token anywhere
- Tests: `tests/plugins/judge`, `tests/plugins/reranker`, `tests/plugins/albums`
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from openmofi.errors import MissingExtraError, OpenMofiError

TOKEN = "OPENAI_API_KEY"
SECONDS = 60.0
TRIES, WAIT = 3, 1.0
"""A request is sent so often; so many seconds pass before the second time, twice as many before the third."""
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_MOST_BYTES = 1 << 20


def client(headers: Mapping[str, str] | None = None) -> Any:
    """Return a client of httpx2 that sends these headers; by default those that carry the token.

    Raises:
        MissingExtraError: httpx2 is not installed.
    """
    try:
        import httpx2
    except ImportError as error:
        raise MissingExtraError.of("httpx2", "judge") from error
    if headers is None:
        token = os.environ.get(TOKEN)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
    # Redirects are not followed: the token is for this server alone.
    return httpx2.Client(timeout=SECONDS, headers=headers)


@dataclass(frozen=True)
class Reply:
    """A server's response.

    Attributes:
        status_code: of HTTP.
        content: its body.
        headers: their names are found in any case.
    """

    status_code: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300


@dataclass
class JsonServer:
    """A server.

    Attributes:
        address: what paths are appended to.
        client: see `client`.
        role: what the server is, in errors.
        unreachable: what to do where it does not answer.
        most_bytes: longer responses are refused.
    """

    address: str
    client: Any = field(repr=False)
    role: str
    unreachable: str = field(default="Start the server, or check the address: it mostly ends in /v1.", kw_only=True)
    most_bytes: int = field(default_factory=lambda: _MOST_BYTES, kw_only=True)

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        """Return the server's response, of whatever status; a server that is busy is asked again.

        Raises:
            OpenMofiError: there is none.
        """
        import httpx2

        url, reason = f"{self.address}/{path}", ""
        response: Reply | None = None
        for number in range(TRIES):
            if number:
                time.sleep(WAIT * 2 ** (number - 1))
            try:
                response = self._received(method, url, body)
            except (httpx2.RequestError, httpx2.InvalidURL) as error:
                reason = str(error) or type(error).__name__
                continue
            if response is None:
                reason = f"it takes more than {SECONDS:g} s, or says more than {self.most_bytes:,} bytes"
                continue
            if response.status_code not in _BUSY:
                break
        if response is None:
            raise OpenMofiError(
                f"The {self.role} {self.address} does not answer: {reason.rstrip('.')}.", self.unreachable
            )
        return response

    def _received(self, method: str, url: str, body: dict[str, Any] | None) -> Reply | None:
        """Return a whole response; `None` where it does not end in time, or is larger than any answer."""
        end, parts, size = time.monotonic() + SECONDS, [], 0
        with self.client.stream(method, url, json=body) as response:
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > self.most_bytes or time.monotonic() > end:
                    return None
            return Reply(response.status_code, b"".join(parts), response.headers)

    def refusal(self, response: Reply, hint: str) -> OpenMofiError:
        """Return the error for a response that is no answer."""
        said = shorten(response.text, 200) or "nothing"
        return OpenMofiError(f"The {self.role} {self.address} refuses with status {response.status_code}: {said}", hint)


def looked_up(response: Reply, *path: str | int) -> object:
    """Return what lies at a path in a response's JSON; `None` where there is nothing."""
    try:
        value = json.loads(response.text)
        for step in path:
            value = value[step]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return value
