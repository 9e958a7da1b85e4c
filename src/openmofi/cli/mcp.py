"""`openmofi mcp`: an index as tools of the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openmofi.cli.command import input_path
from openmofi.errors import MissingExtraError


def mcp(
    index: Annotated[Path, typer.Argument(parser=input_path, metavar="INDEX", help="Folder of the index.")],
    encoder: Annotated[str | None, typer.Option(help="Where the one of the index has moved to.")] = None,
    device: Annotated[str, typer.Option(help="Of the encoder: auto, cpu, cuda, cuda:1 …")] = "auto",
) -> None:
    """Offer search and recognition as tools over standard input and output; nothing can be changed."""
    try:
        from openmofi.search.server.mcp import serve_tools
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "mcp", "mcp") from error

    serve_tools(index, encoder, device)
