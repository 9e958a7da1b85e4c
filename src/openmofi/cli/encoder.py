"""`openmofi encoder`: look into encoders."""

from typing import Annotated

import typer

from openmofi.api import encoders as api
from openmofi.cli.command import command, group, print_json
from openmofi.cli.options import Json

app = group("encoder", "Look into image–text encoders.")


@app.callback()
def _group() -> None:
    """Look into image–text encoders."""


@command(app)
def info(
    spec: Annotated[str, typer.Argument(help="sample, run:FOLDER, hf:FOLDER-OR-ID, open_clip:ARCH/PRETRAINED …")],
    as_json: Json = False,
) -> None:
    """Show an encoder's dimensions, preprocessing, logit scale and fingerprints."""
    facts = api.load_encoder(spec).describe()
    if as_json:
        print_json(facts)
        return
    from openmofi.cli.tables import print_facts

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
