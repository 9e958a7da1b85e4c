"""How a server listens, and what it lets in."""

import resource
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path

from openmofi.errors import UsageError
from openmofi.pairs import MAX_PIXELS
from openmofi.review.verdicts import AGENT

_LEAST_TOKEN = 16
MOST_SENT = 8_000_000
"""Bytes of an image that stands in the argument of a tool, before base64."""
_LONGEST_NAME = 100
_SCOPES = ("read", "verdicts")


@dataclass(frozen=True)
class Agent:
    """An assistant that has a token of its own, which opens `/mcp` and nothing else.

    Attributes:
        name: stands as `agent:NAME` in its verdicts.
        token: what its requests have to show.
        verdicts: whether it may judge labels, and take its own verdicts back.

    Raises:
        UsageError: the name or the token is none.
    """

    name: str
    token: str = field(repr=False)
    verdicts: bool = False

    def __post_init__(self) -> None:
        reviewer_of(self.name)
        require_token(self.token, f"The token of the agent {self.name}")

    @property
    def who(self) -> str:
        """Under which its verdicts are kept; "" where it may give none."""
        return reviewer_of(self.name) if self.verdicts else ""


def reviewer_of(agent: str) -> str:
    """The name under which the verdicts of an agent are kept, which no person has by chance.

    Raises:
        UsageError: the agent's name is none.
    """
    if not agent.isprintable() or not 0 < len(agent.strip()) <= _LONGEST_NAME:
        raise UsageError(f"{agent!r:.60} is no name of an agent.", f"Use up to {_LONGEST_NAME} printable characters.")
    return f"{AGENT}{agent}"


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
        mcp: offer the tools of the Model Context Protocol at `/mcp`.
        agents: assistants with a token of their own, for `/mcp` alone.
        framed: let pages of this machine, such as a notebook's, show the page in a frame; on loopback alone.

    Raises:
        UsageError: it would listen to others without a token, a token is too short or given twice, or a proxy is no
            address.
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
    mcp: bool = False
    agents: tuple[Agent, ...] = ()
    framed: bool = False
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
        if self.token:
            require_token(self.token, "The token")
        given = [self.token, *(each.token for each in self.agents)]
        if len(set(given)) < len(given) or len({each.name for each in self.agents}) < len(self.agents):
            raise UsageError("Two agents have the same name or token, or one has the server's token.", _NEW_TOKEN)
        if self.framed and not self.loopback:
            raise UsageError("Frames are for pages of this machine.", "Listen on 127.0.0.1.")
        if self.agents and not self.mcp:
            raise UsageError("Agents are named, and /mcp is not offered.", "Give --mcp too.")

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


_NEW_TOKEN = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'."


def require_token(token: str, what: str) -> None:
    """Check what is to be a token; `what` begins the sentence.

    Raises:
        UsageError: it is too short, or has odd characters.
    """
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"{what} is too short or has odd characters: at least {_LEAST_TOKEN} printable ASCII characters.",
            _NEW_TOKEN,
        )


def agents_of(file: Path) -> tuple[Agent, ...]:
    """The agents that a file names, a line each: `NAME SCOPE TOKEN`, where the scope is `read` or `verdicts`.

    Raises:
        UsageError: it cannot be read, or a line is none of these.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a list of agents: {error}.", _LINE) from error
    agents = []
    for number, line in enumerate(lines, 1):
        if not (words := line.split()) or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[1] not in _SCOPES:
            raise UsageError(f"Line {number} of {file} names no agent.", _LINE)  # not the line, which has a token
        agents.append(Agent(words[0], words[2], words[1] == "verdicts"))
    return tuple(agents)


_LINE = "Write a line for each: NAME SCOPE TOKEN, where SCOPE is read or verdicts."


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
