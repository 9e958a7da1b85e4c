"""A server over an index: an HTTP API and the page, and the tools of MCP."""

from openmofi.search.server.app import create_app
from openmofi.search.server.run import serve
from openmofi.search.server.settings import ServeSettings

__all__ = ["ServeSettings", "create_app", "serve"]
