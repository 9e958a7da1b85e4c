"""`openmofi dataset export`."""

from pathlib import Path

import typer

from openmofi.cli.command import print_json
from openmofi.cli.options import LICENCE, Call, Json, made_of
from openmofi.plugins.dataset_export.api import export_dataset


@made_of(export_dataset, licence=LICENCE)
def export(call: Call, out: Path, push: str, as_json: Json = False) -> None:
    """Write a dataset in a format that other tools open, with a card and Croissant metadata; goes on if stopped."""
    counts = call()
    if as_json:
        print_json(counts)
        return
    typer.echo(
        f"{counts['images']:,} images, {counts['labels']:,} labels of {counts['classes']:,} classes: {out}"
        + (f"; pushed to {push}" if push else "")
    )
