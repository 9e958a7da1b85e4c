"""`openmofi encoder`: look into image–text encoders."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look into image–text encoders."""


@app.command("info")
def info(
    spec: Annotated[str, typer.Argument(help="sample, run:FOLDER, hf:FOLDER-OR-ID, open_clip:ARCH/PRETRAINED …")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show an encoder's dimensions, preprocessing, logit scale and fingerprints."""
    from openmofi.encoders import open_encoder

    facts = open_encoder(spec).describe()
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in facts.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        text = "unknown" if value is None else text
        table.add_row(name.replace("_", " "), text)
    Console().print(table)
