"""`openmofi recognise`: what many images show, by an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

import typer

from openmofi.cli.command import (
    Device,
    EngineName,
    MaxImagePixels,
    MaxUnpackRatio,
    OnDamage,
    Precision,
    Restart,
    index_place,
    output_place,
    print_json,
)


def recognise(
    shards: Annotated[list[str], typer.Argument(help="Tar or Parquet, folders, globs, '{00..09}' ranges, URLs.")],
    index: Annotated[
        Any,
        typer.Option(parser=index_place, metavar="INDEX", help="Folder of the index, or postgresql://HOST/DATABASE."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            parser=output_place,
            metavar="TABLE",
            help="Folder of the table, a Parquet file a shard; or s3://… and other stores.",
        ),
    ],
    limit: Annotated[int, typer.Option("--limit", "-n", help="Entities of an image, at most.")] = 5,
    unnamed: Annotated[float, typer.Option(help="Share of images that show what no label of the index names.")] = 0.1,
    encoder: Annotated[str | None, typer.Option(help="Where the one of the index has moved to.")] = None,
    cache: Annotated[
        str | None,
        typer.Option(
            parser=output_place, metavar="FOLDER", help="Features, shared with label jobs (default: the output)."
        ),
    ] = None,
    on_damage: OnDamage = "stop",
    max_unpack_ratio: MaxUnpackRatio = 200,
    text_column: Annotated[list[str] | None, typer.Option(help="Of tables, see openmofi label --help.")] = None,
    image_column: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    key_column: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    image_root: Annotated[str, typer.Option(help="Folder that the images of tables lie below.")] = "",
    max_image_pixels: MaxImagePixels = 89_478_485,
    batch_size: Annotated[int, typer.Option(help="Images a forward pass.")] = 64,
    device: Device = "auto",
    precision: Precision = "fp32",
    engine: EngineName = "auto",
    restart: Restart = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Say what many images may show, with probabilities and evidence: a row an image, rows in = rows out."""
    from openmofi.api_index import recognise as recognise_images

    counts = recognise_images(
        shards,
        index=index,
        out=out,
        limit=limit,
        unnamed=unnamed,
        encoder=encoder,
        cache=cache,
        on_damage=cast(Literal["stop", "keep"], on_damage),
        max_unpack_ratio=max_unpack_ratio,
        text_column=text_column or "",
        image_column=image_column or "",
        key_column=key_column or "",
        image_root=image_root,
        max_image_pixels=max_image_pixels,
        batch_size=batch_size,
        device=device,
        precision=precision,
        engine=engine,
        restart=restart,
        progress=not as_json,
    )
    if as_json:
        print_json(counts)
    else:
        _print(counts, out)


def _print(counts: Mapping[str, Any], out: str) -> None:
    from openmofi.cli.show.tables import print_table

    print_table(
        ("status", "images"),
        [(status, f"{count:,}") for status, count in sorted(counts["status"].items(), key=lambda item: -item[1])],
        title=f"{counts['rows_out']:,} images in {out}",
    )
    if named := counts["status"].get("recognised"):
        typer.echo(f"of the likeliest entities of {named:,} images {counts['expected']:,.0f} are expected to be right")
    if "unnamed" in counts:
        typer.echo(
            f"the share that shows what no label names is at most {counts['unnamed']:.0%} by how these images "
            "look (--unnamed)"
        )
