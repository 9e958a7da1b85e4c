"""The tools of assistants over standard input and output, and over streamable HTTP at `/mcp`."""

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from openmofi.encoders import EncoderLike
from openmofi.plugins.server.context import Context
from openmofi.plugins.server.guard import AGENT, MCP, TOO_LARGE
from openmofi.plugins.server.mcp_tools import tools_of
from openmofi.plugins.server.messages import Refused
from openmofi.plugins.server.settings import ServeSettings
from openmofi.search.index import Index
from openmofi.search.store.connection import Connection, Place

_ANY_LENGTH = 1 << 30
"""Of a body: the guard has limited it."""
_PICTURE = re.compile(rb'"image_base64"\s*:\s*"[^"]*"')


class ReadOnlyIndex(Index):
    """An index whose connections refuse to write, whoever asks them to.

    See `openmofi.search.store.connection.Connection.only_read`.
    """

    @property
    def connection(self) -> Connection:
        """The connection of the calling thread."""
        connection = super().connection
        connection.only_read()
        return connection


def serve_tools(path: str | Place, encoder: EncoderLike | None = None, device: str = "auto", who: str = "") -> None:
    """Answer an MCP client on standard input and output until it closes them.

    Args:
        path: of the index.
        encoder, device: see `Index.open`.
        who: under which verdicts are kept; where it is empty, nothing can be written.

    Raises:
        OpenMofiError: there is no index.
    """
    index = (Index if who else ReadOnlyIndex).open(path, encoder, device=device)
    tools_of(Context.of(index, ServeSettings(no_token=True)), who).run("stdio")


class Endpoint:
    """The ASGI application at `/mcp`, behind the guard, which has checked token, host, origin and size.

    Each request is answered by itself, as JSON: no sessions fill the memory, and no streams stay open.

    What is sent but for one picture may be as large as elsewhere: the event loop reads it, and a million small values
    would stop it for all.

    Args:
        context: of the server.

    Attributes:
        path: of the application.
    """

    path = MCP

    def __init__(self, context: Context) -> None:
        self._most = context.settings.max_json_bytes
        self._servers = {who: tools_of(context, who) for who in {"", *(each.who for each in context.settings.agents)}}
        for server in self._servers.values():
            server.streamable_http_app(
                json_response=True,
                stateless_http=True,
                max_request_body_size=_ANY_LENGTH,
                transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Answer requests until the block ends."""
        async with AsyncExitStack() as stack:
            for server in self._servers.values():
                await stack.enter_async_context(server.session_manager.run())
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the tools that its sender may use."""
        scope["route"] = self  # whose path is in the log and in metrics
        body = await Request(scope, receive).body()
        picture = _PICTURE.search(body) if len(body) > self._most else None
        if len(body) - len(picture[0] if picture else b"") > self._most:
            raise Refused(413, TOO_LARGE, "Only image_base64 may be that large.")
        waiting = [body]

        async def again() -> Message:
            return {"type": "http.request", "body": waiting.pop()} if waiting else await receive()

        server = self._servers[scope["state"].get(AGENT, "")]
        await server.session_manager.asgi_app(scope, again, send)
