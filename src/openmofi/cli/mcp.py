"""`openmofi mcp`: an index as tools of the Model Context Protocol."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from openmofi.cli.command import Device, index_place
from openmofi.errors import MissingExtraError


def mcp(
    index: Annotated[
        Any,
        typer.Argument(parser=index_place, metavar="INDEX", help="Folder of the index, or postgresql://HOST/DATABASE."),
    ],
    encoder: Annotated[str | None, typer.Option(help="Where the one of the index has moved to.")] = None,
    device: Device = "auto",
) -> None:
    """Offer search and recognition as tools over standard input and output; nothing can be changed."""
    try:
        from openmofi.search.server.mcp import serve_tools
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "mcp", "mcp") from error

    serve_tools(index, encoder, device)
