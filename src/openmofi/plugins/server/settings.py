"""How a server listens, and what it lets in."""

import resource
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path

from openmofi.errors import UsageError
from openmofi.pairs import MAX_PIXELS

_LEAST_TOKEN = 16


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a server.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        token: what each request has to show. Where none is given, a server on loopback makes one, which is then here:
            every user of the machine reaches it.
        no_token: ask for none, which only loopback may.
        hosts: further names by which clients may address it, such as that of a proxy.
        proxies: addresses or networks of proxies whose `X-Forwarded-For` is believed; of others it is ignored.
        max_upload_bytes, max_upload_pixels: larger uploads are refused.
        max_json_bytes: larger requests of other kinds are refused.
        rate: requests a second that a client may send in the long run; a search counts as several. 0 for any number.
        connections: at most so many are open, or half of the files that the process may open if that is less.
        client_connections: at most so many of one client (an address), or a quarter of all if that is less.
        header_seconds: in which a request's headers have to arrive.
        body_seconds, body_bytes: at least so many bytes of a body have to arrive in so many seconds.
        unread_seconds: after which a client that takes nothing of its answer is left.
        batch: queries that go through the encoder together, at most.
        wait: seconds that a query waits for others before an idle encoder.
        labels: the folder of the label job, where it is not the one that the index was built of.
        grace: seconds that requests in progress get when the server is stopped.

    Raises:
        UsageError: it would listen to others without a token, a token is too short, or a proxy is no address.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    no_token: bool = False
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    max_upload_bytes: int = 50_000_000
    max_upload_pixels: int = MAX_PIXELS
    max_json_bytes: int = 1 << 20
    rate: float = 200.0
    connections: int = 1000
    client_connections: int = 250
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    body_bytes: int = 10_000
    unread_seconds: float = 60.0
    batch: int = 32
    wait: float = 0.002
    labels: str = ""
    grace: float = 20.0
    made_token: bool = field(default=False, init=False)
    """Whether `token` was made here."""

    def __post_init__(self) -> None:
        if self.token and self.no_token:
            raise UsageError("A token is given, and that none is asked for.", "Leave one of the two out.")
        if not self.token and self.loopback and not self.no_token:
            object.__setattr__(self, "token", secrets.token_urlsafe(32))
            object.__setattr__(self, "made_token", True)
        for each in self.proxies:
            try:
                ip_network(each)
            except ValueError as error:
                raise UsageError(
                    f"The proxy {each!r} is not an address.",
                    "Write an address or a network, such as 10.0.0.2 or 10.0.0.0/24.",
                ) from error
        if not self.token and not self.loopback:
            raise UsageError(
                f"Without a token, a server does not listen on {self.host}: anyone there could see the "
                "images and write verdicts.",
                "Give --token-file FILE, or listen on 127.0.0.1.",
            )
        if self.token and (len(self.token) < _LEAST_TOKEN or not self.token.isascii() or not self.token.isprintable()):
            raise UsageError(
                f"The token is too short or has odd characters: at least {_LEAST_TOKEN} printable ASCII characters.",
                "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'.",
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def most_connections(self) -> int:
        """How many connections may be open: the other files that the process may open are the index's."""
        return max(1, min(self.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))

    @property
    def most_of_client(self) -> int:
        """How many of them may be of one client."""
        return max(1, min(self.client_connections, self.most_connections // 4))

    def is_proxy(self, client: str) -> bool:
        """Whether an address is that of a proxy that is believed."""
        try:
            return any(ip_address(client) in ip_network(each) for each in self.proxies)
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
