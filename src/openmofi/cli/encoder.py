"""`openmofi encoder`: look into image–text encoders."""

from __future__ import annotations

from typing import Annotated

import typer

from openmofi.cli.command import print_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Look into image–text encoders."""


@app.command("info")
def info(
    spec: Annotated[str, typer.Argument(help="sample, run:FOLDER, hf:FOLDER-OR-ID, open_clip:ARCH/PRETRAINED …")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show an encoder's dimensions, preprocessing, logit scale and fingerprints."""
    from openmofi import api

    facts = api.load_encoder(spec).describe()
    if as_json:
        print_json(facts)
        return
    from openmofi.cli.show.tables import print_facts

    print_facts(
        {
            name: ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else "unknown"
            if value is None
            else str(value)
            for name, value in facts.items()
        }
    )
