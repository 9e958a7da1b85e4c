"""An index as tools of the Model Context Protocol (https://modelcontextprotocol.io), over stdio; nothing is written."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from openmofi.errors import OpenMofiError
from openmofi.search.index import Index
from openmofi.search.query import Filters, Query, Region
from openmofi.search.records import ImageRecord
from openmofi.version import __version__

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class ReadOnlyIndex(Index):
    """An index whose connections refuse to write, whatever calls them."""

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of the calling thread."""
        connection = super().connection
        connection.execute("PRAGMA query_only = ON")
        return connection
