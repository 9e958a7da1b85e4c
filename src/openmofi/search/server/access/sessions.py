"""Sessions of browsers that have shown the token; they end with a sign-out and with the server."""

from __future__ import annotations

import secrets
from collections import OrderedDict

_MOST = 10_000


def equal(given: str, expected: str) -> bool:
    """Whether two secrets are equal, compared in constant time."""
    return secrets.compare_digest(given.encode(), expected.encode())


class Sessions:
    """The sessions of one server, in its memory: after a restart each browser has to sign in again.

    The value of a cookie is `NAME.SECRET`. It is looked up by its name, and the secret is compared in constant time.
    """

    def __init__(self) -> None:
        self._secrets: OrderedDict[str, str] = OrderedDict()

    def begin(self) -> str:
        """The cookie of a new session; beyond 10,000 sessions the oldest one ends."""
        name, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        self._secrets[name] = secret
        if len(self._secrets) > _MOST:
            self._secrets.popitem(last=False)
        return f"{name}.{secret}"

    def has(self, cookie: str) -> bool:
        """Whether a cookie is that of a session that has not ended."""
        name, _, secret = cookie.partition(".")
        expected = self._secrets.get(name, "")
        return equal(secret, expected) and bool(expected)

    def end(self, cookie: str) -> None:
        """End the session of a cookie, if it is one."""
        if self.has(cookie):
            del self._secrets[cookie.partition(".")[0]]


def cookie_name(port: int) -> str:
    """The name of the cookie: browsers send cookies to all ports of a host, so each server has a name of its own."""
    return f"openmofi_session_{port}"
