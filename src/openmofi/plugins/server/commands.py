"""`openmofi serve` and `openmofi mcp`: an index as a page and an HTTP API, and as tools of assistants."""

from pathlib import Path
from typing import Annotated

import typer

from openmofi.cli.command import Device, input_path, input_place
from openmofi.cli.options import IndexPlace, MovedEncoder
from openmofi.errors import MissingExtraError
from openmofi.terminal import visible


def serve(
    index: IndexPlace,
    host: Annotated[
        str, typer.Option(help="Where to listen; other than on this machine only with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token: Annotated[
        str,
        typer.Option(
            envvar="OPENMOFI_TOKEN",
            help="What clients have to show; a file is safer, other users see commands. "
            "Where none is given, one is made and printed with the address.",
        ),
    ] = "",
    token_file: Annotated[Path | None, typer.Option(parser=input_path, help="File that holds the token.")] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Ask for none: every user of this machine may search and write verdicts.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name of this server, such as that of a proxy before it."),
    ] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Believe X-Forwarded-For of this proxy (an address or a network)."),
    ] = None,
    labels: Annotated[
        str, typer.Option(parser=input_place, help="Where the labels have moved to that the index was built of.")
    ] = "",
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Offer tools for assistants at /mcp, which only read; they show the token.")
    ] = False,
    agents: Annotated[
        Path | None,
        typer.Option(
            parser=input_path,
            help="File of assistants with a token of their own for /mcp, a line each: NAME SCOPE TOKEN. SCOPE is read, "
            "or verdicts, which lets it judge labels under its name and take that back.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Largest image that may be uploaded.")] = 50,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second of a client; 0 for any number.")] = 200.0,
    encoder: MovedEncoder = None,
    device: Device = "auto",
) -> None:
    """Serve an index until Ctrl-C."""
    try:
        from openmofi.plugins.server import ServeSettings, serve
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "fastapi", "serve") from error
    from openmofi.plugins.server.settings import agents_of, token_of
    from openmofi.search import Index

    settings = ServeSettings(
        host,
        port,
        token_of(token_file) if token_file else token,
        no_token,
        tuple(allow_host or ()),
        tuple(trust_proxy or ()),
        max_upload_bytes=max_upload_mb * 1_000_000,
        rate=rate,
        labels=labels,
        mcp=mcp,
        agents=agents_of(agents) if agents else (),
    )
    serve(
        Index.open(index, encoder, device=device),
        settings,
        open_page=show,
        on_start=lambda address: typer.echo(visible(f"{index} is served at {address} (Ctrl-C stops)"), err=True),
    )


def mcp(
    index: IndexPlace,
    verdicts: Annotated[
        str,
        typer.Option(metavar="NAME", help="Let labels be judged, and that be taken back; kept as of agent:NAME."),
    ] = "",
    encoder: MovedEncoder = None,
    device: Device = "auto",
) -> None:
    """Offer search and recognition as tools over standard input and output; without --verdicts they only read."""
    try:
        from openmofi.plugins.server.agents import serve_tools
        from openmofi.plugins.server.settings import reviewer_of
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "mcp", "mcp") from error

    serve_tools(index, encoder, device, reviewer_of(verdicts) if verdicts else "")
