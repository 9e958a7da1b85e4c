"""`openmofi eval`: how good an encoder or a linker is, by published protocols; and results compared."""

from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.api import encoders as api
from openmofi.cli.command import Commands, command, group, output_path, print_json
from openmofi.cli.options import Call, Json, made_of
from openmofi.errors import UsageError


class _Protocols(Commands):
    """Each protocol is a command; they share one function, which finds its own name in the context."""

    order = ("PROTOCOL", "mteb", "sources", "compare")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Any name that is not a command's is a protocol's."""
        name, *rest = args
        if name in self.list_commands(ctx) or name.startswith("-"):
            return super().resolve_command(ctx, args)
        from openmofi.evaluation.run import check_protocol

        check_protocol(name)
        return name, self.commands["PROTOCOL"], rest


app = group(
    "eval",
    "Judge an encoder or a linker as the papers do, and compare results.",
    _Protocols,
    invoke_without_command=True,
    epilog="The protocols: openmofi eval --list",
)


@app.callback()
def _group(
    context: typer.Context,
    list_protocols: Annotated[bool, typer.Option("--list", help="List the protocols.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Judge an encoder or a linker as the papers do, and compare results."""
    if list_protocols:
        from openmofi.cli.tables import print_names
        from openmofi.evaluation.run import protocols

        print_names({name: what for name, (_, what) in protocols().items()}, as_json)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise UsageError("No protocol is given.", "Name one; openmofi eval --list shows them.")


@command(app, "PROTOCOL")
@made_of(
    api.evaluate,
    first=("data", "encoder", "linker", "out"),
    protocol=None,
    data=Annotated[Path, typer.Option(metavar="DIR")],
    out=Annotated[Path | None, typer.Option("-o", "--out", parser=output_path, metavar="DIR")],
    failures=Annotated[int, typer.Option(min=0)],
    bands=Annotated[str | None, typer.Option(metavar="DATASET")],
)
def run(
    call: Call,
    context: typer.Context,
    out: Path | None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the protocol; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate an encoder, or a linker, by a protocol of `openmofi eval --list`, named in place of PROTOCOL."""
    from openmofi.config import settings_from
    from openmofi.evaluation.result import result_path
    from openmofi.evaluation.run import protocol_named

    name = str(context.info_name)
    settings = settings_from(protocol_named(name).settings(), changes or ())
    result = call(name, settings=settings, progress=not as_json)
    plain = result.as_dict() | ({"written": str(result_path(out, result))} if out else {})
    if as_json:
        print_json(plain)
        return
    from openmofi.cli.tables import print_evaluation

    print_evaluation(plain)
    if out:
        typer.echo(f"written: {plain['written']}")
