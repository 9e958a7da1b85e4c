"""`openmofi index`: build an index over images, keep it up to date and whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from openmofi.cli.command import (
    Device,
    Precision,
    index_place,
    input_place,
    new_index_place,
    output_path,
    print_checked,
    print_json,
)

if TYPE_CHECKING:
    from openmofi.search import Changes

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_PLACE = "Folder of the index, or postgresql://HOST/DATABASE."
_Index = Annotated[Any, typer.Argument(parser=index_place, metavar="INDEX", help=_PLACE)]
_Inputs = Annotated[
    list[str],
    typer.Argument(metavar="IMAGES...", help="Folders of images, tar or Parquet, tables, globs; or folders of labels."),
]
_Kb = Annotated[
    str | None,
    typer.Option(parser=input_place, metavar="KB", help="Names and types of entities (default: the labels' own)."),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _group() -> None:
    """Build an index over images, keep it up to date and whole."""


@app.command()
def build(
    images: _Inputs,
    encoder: Annotated[str, typer.Option(help="sample, open_clip:ARCH/PRETRAINED, hf:PATH-OR-ID or run:PATH.")],
    out: Annotated[Any, typer.Option("--out", "-o", parser=new_index_place, metavar="INDEX", help=_PLACE)],
    kb: _Kb = None,
    entities: Annotated[
        str, typer.Option(help="Which the index knows: judged by the label job, all of the knowledge base, or auto.")
    ] = "auto",
    template: Annotated[str, typer.Option(help="Entity text for the encoder.")] = "{name}: {description}",
    dtype: Annotated[str, typer.Option(help="Of the vectors on disk: float16 or float32.")] = "float16",
    text_column: Annotated[list[str] | None, typer.Option(help="Of tables, see openmofi label --help.")] = None,
    image_column: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    key_column: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    image_root: Annotated[str, typer.Option(help="Folder that the images of tables lie below.")] = "",
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: _JSON = False,
) -> None:
    """Build an index, or go on with one: images that have not changed are not embedded again."""
    from openmofi.api_index import build_index

    with_index = build_index(
        images,
        encoder=encoder,
        out=out,
        kb=kb,
        entities=cast(Literal["auto", "judged", "all"], entities),
        template=template,
        dtype=cast(Literal["float16", "float32"], dtype),
        text_column=text_column or "",
        image_column=image_column or "",
        key_column=key_column or "",
        image_root=image_root,
        device=device,
        precision=precision,
        progress=not as_json,
    )
    _print_changes(with_index.changes, out, as_json)


@app.command()
def add(index: _Index, images: _Inputs, kb: _Kb = None, device: Device = "auto", as_json: _JSON = False) -> None:
    """Take in more images, or bring those that it has up to date; what is gone from IMAGES is removed."""
    from openmofi.given import kb_of
    from openmofi.progress import shown_progress
    from openmofi.search import Index

    with shown_progress(not as_json) as progress:
        changes = Index.open(index, device=device).add(
            images, kb=kb_of(kb, progress) if kb else None, progress=progress
        )
    _print_changes(changes, index, as_json)


@app.command()
def remove(
    index: _Index,
    what: Annotated[list[str], typer.Argument(help="Sources, folders or files of images, or SHARD/KEY.")],
    as_json: _JSON = False,
) -> None:
    """Take images out of an index; the images themselves stay where they are."""
    from openmofi.search import Index

    _print_changes(Index.open(index).remove(what), index, as_json)


@app.command()
def info(index: _Index, as_json: _JSON = False) -> None:
    """Show what an index holds."""
    from openmofi.search import Index

    facts = asdict(Index.open(index).info())
    if as_json:
        print_json(facts)
        return
    from openmofi.cli.show.tables import print_facts

    facts["bytes"] = {part: f"{size / 2**20:,.1f} MiB" for part, size in facts["bytes"].items()}
    print_facts({name: _shown(value) for name, value in facts.items()})


@app.command()
def verify(index: _Index, as_json: _JSON = False) -> None:
    """Read all files of an index; exits with 1 where one is damaged. `openmofi index compact` mends segments."""
    from openmofi.search import Index

    print_checked(Index.open(index).verify(), as_json, hint=f"Mend it with: openmofi index compact {index}")


@app.command()
def compact(index: _Index, device: Device = "auto", as_json: _JSON = False) -> None:
    """Drop what was removed, join small segments, and embed anew what a damaged one held."""
    from openmofi.progress import shown_progress
    from openmofi.search import Index

    with shown_progress(not as_json) as progress:
        changes = Index.open(index, device=device).compact(progress)
    _print_changes(changes, index, as_json)


@app.command("map")
def map_(
    index: _Index,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives another map.")] = 0,
    as_json: _JSON = False,
) -> None:
    """Give each image a place on a map of the collection, which the page of `openmofi serve` shows."""
    from openmofi.search import Index

    placed = Index.open(index).make_map(seed).changed
    if as_json:
        print_json({"index": str(index), "images": placed})
    else:
        typer.echo(f"{placed:,} images have a place on the map; see it with: openmofi serve {index}")


@app.command()
def verdicts(
    index: _Index,
    out: Annotated[Path, typer.Option("--out", "-o", parser=output_path, metavar="FILE.parquet", help="The table.")],
    labels: Annotated[
        str,
        typer.Option(metavar="LABELS", help="Folder of labels that they are of, where the index was built of several."),
    ] = "",
    as_json: _JSON = False,
) -> None:
    """Write what people said of labels as Parquet, which `openmofi label --verdicts` takes."""
    from openmofi.search import Index
    from openmofi.storage import write_table

    table = Index.open(index).verdict_table(labels)
    write_table(out, table)
    counted = table.num_rows - table["stratum"].null_count
    if as_json:
        print_json({"file": str(out), "verdicts": table.num_rows, "of_labels": counted})
    else:
        typer.echo(f"{out}: {table.num_rows:,} verdicts, {counted:,} of them on labels that a label job can take")


def _print_changes(changes: Changes, index: Any, as_json: bool) -> None:
    if as_json:
        print_json(asdict(changes))
        return
    from openmofi.cli.show.tables import print_facts

    print_facts({name: _shown(value) for name, value in {"index": str(index), **asdict(changes)}.items() if value})


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, tuple | list):
        return "\n".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
