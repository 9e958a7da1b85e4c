"""`openmofi schema`: what `--json` prints."""

from __future__ import annotations

from typing import Annotated

import typer

from openmofi.cli.command import print_json


def schema(command: Annotated[list[str] | None, typer.Argument(help="Such as: label, or kb lookup.")] = None) -> None:
    """Print the JSON Schema of what a command prints with --json; without a command, list those that have one."""
    from openmofi.cli.json_schemas import schema_names, schema_of

    if command:
        print_json(schema_of(" ".join(command)), checked=False)
    else:
        for name in schema_names():
            typer.echo(name)
