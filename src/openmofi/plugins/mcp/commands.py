"""`openmofi mcp`."""

from openmofi.cli.command import Device
from openmofi.cli.options import IndexPlace, MovedEncoder
from openmofi.errors import MissingExtraError


def mcp(
    index: IndexPlace,
    encoder: MovedEncoder = None,
    device: Device = "auto",
) -> None:
    """Offer search and recognition as tools over standard input and output; nothing can be changed."""
    try:
        from openmofi.plugins.mcp.tools import serve_tools
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "mcp", "mcp") from error

    serve_tools(index, encoder, device)
