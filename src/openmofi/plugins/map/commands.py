"""`openmofi index map`."""

from typing import Annotated

import typer

from openmofi.cli.command import print_json
from openmofi.cli.options import IndexPlace, Json


def map_index(
    index: IndexPlace,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives another map.")] = 0,
    as_json: Json = False,
) -> None:
    """Give each image a place on a map of the collection, which the page of `openmofi serve` shows."""
    from openmofi.search import Index

    placed = Index.open(index).make_map(seed).changed
    if as_json:
        print_json({"index": str(index), "images": placed})
    else:
        typer.echo(f"{placed:,} images have a place on the map; see it with: openmofi serve {index}")
