"""How a server listens, and what it lets in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from openmofi.errors import UsageError
from openmofi.pairs import MAX_PIXELS

_LEAST_TOKEN = 16


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a server.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        token: what each request has to show; "" asks for none, which only loopback may.
        hosts: further names by which clients may address it, such as that of a proxy.
        max_upload_bytes, max_upload_pixels: larger uploads are refused.
        max_json_bytes: larger requests of other kinds are refused.
        rate: requests a second that a client may send in the long run; a search counts as several. 0 for any number.
        batch: queries that go through the encoder together, at most.
        wait: seconds that a query waits for others before an idle encoder.
        labels: the folder of the label job, where it is not the one that the index was built of.
        grace: seconds that requests in progress get when the server is stopped.

    Raises:
        UsageError: it would listen to others without a token, or a token is too short.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    hosts: tuple[str, ...] = ()
    max_upload_bytes: int = 50_000_000
    max_upload_pixels: int = MAX_PIXELS
    max_json_bytes: int = 1 << 20
    rate: float = 200.0
    batch: int = 32
    wait: float = 0.002
    labels: str = ""
    grace: float = 20.0

    def __post_init__(self) -> None:
        if not self.token and not self.loopback:
            raise UsageError(f"Without a token, a server does not listen on {self.host}: anyone there could see the "
                             "images and write verdicts.", "Give --token-file FILE, or listen on 127.0.0.1.")
        if self.token and (len(self.token) < _LEAST_TOKEN or not self.token.isascii()
                           or not self.token.isprintable()):
            raise UsageError(f"The token is too short or has odd characters: at least {_LEAST_TOKEN} printable ASCII "
                             "characters.",
                             "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @cached_property
    def names(self) -> frozenset[str] | None:
        """Host names of requests that are answered; `None` for any.

        A page of a stranger may let its own name point to this machine (DNS rebinding) and so read what is served to
        loopback. Where a token is asked for, it does not have it.
        """
        if not self.loopback and not self.hosts:
            return None
        return frozenset({"127.0.0.1", "localhost", "[::1]", "::1", self.host, *self.hosts})


def token_of(file: Path) -> str:
    """The token that a file holds.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    try:
        token = file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a token: {error}.", "Write the token into it, as text.") from error
    if not token:
        raise UsageError(f"{file} holds no token.", "Write the token into it, as text.")
    return token
