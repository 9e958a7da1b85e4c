"""`openmofi index`: build an index over images, keep it up to date and whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmofi.api import indexes as api
from openmofi.cli.command import (
    Device,
    command,
    group,
    input_path,
    input_place,
    output_path,
    print_checked,
    print_json,
)
from openmofi.cli.options import OUT_INDEX, Call, IndexPlace, Json, made_of
from openmofi.errors import UsageError
from openmofi.terminal import visible

if TYPE_CHECKING:
    from openmofi.search import Changes, Index

app = group("index", "Build an index over images, keep it up to date and whole.")
IMAGES = Annotated[list[str], typer.Argument(metavar="IMAGES...")]
_Inputs = Annotated[
    list[str],
    typer.Argument(metavar="IMAGES...", help="Folders of images, tar or Parquet, tables, globs; or folders of labels."),
]
_Kb = Annotated[
    str | None,
    typer.Option(parser=input_place, metavar="KB", help="Names and types of entities (default: the labels' own)."),
]


@command(app)
@made_of(
    api.build_index,
    groups=True,
    first=("encoder", "out", "kb", "entities", "template", "dtype"),
    images=IMAGES,
    out=OUT_INDEX,
)
def build(call: Call, out: Any, as_json: Json = False) -> None:
    """Build an index, or go on with one: images that have not changed are not embedded again."""
    index = call(progress=not as_json)
    _print_changes(index.changes, out, as_json, index.path)
    _say_uncalibrated(index, out)


@command(app)
def add(index: IndexPlace, images: _Inputs, kb: _Kb = None, device: Device = "auto", as_json: Json = False) -> None:
    """Take in more images, or bring those that it has up to date; what is gone from IMAGES is removed."""
    from openmofi.api.given import kb_of
    from openmofi.progress import shown_progress
    from openmofi.search import Index

    opened = Index.open(index, device=device)
    with shown_progress(not as_json) as progress:
        changes = opened.add(images, kb=kb_of(kb, progress) if kb else None, progress=progress)
    _print_changes(changes, index, as_json)
    _say_uncalibrated(opened, index)


@command(app)
def remove(
    index: IndexPlace,
    what: Annotated[list[str], typer.Argument(help="Sources, folders or files of images, or SHARD/KEY.")],
    as_json: Json = False,
) -> None:
    """Take images out of an index; the images themselves stay where they are."""
    from openmofi.search import Index

    _print_changes(Index.open(index).remove(what), index, as_json)


@command(app)
def info(index: IndexPlace, as_json: Json = False) -> None:
    """Show what an index holds."""
    from openmofi.search import Index

    about = Index.open(index).info()
    facts = asdict(about)
    if as_json:
        print_json(facts)
        return
    from openmofi.cli.tables import print_facts

    said = {kind: f"{each.source}. {each}".strip() for kind, each in about.calibration.items()}
    facts["calibration"] = {
        ", ".join(kind for kind in said if said[kind] == one): one for one in dict.fromkeys(said.values())
    }
    facts["bytes"] = {part: f"{size / 2**20:,.1f} MiB" for part, size in facts["bytes"].items()}
    print_facts({name: _fact_text(value) for name, value in facts.items()})


@command(app)
def verify(index: IndexPlace, as_json: Json = False) -> None:
    """Read all files of an index; exits with 1 where one is damaged. `openmofi index compact` mends segments."""
    from openmofi.search import Index

    print_checked(Index.open(index).verify(), as_json, hint=f"Mend it with: openmofi index compact {index}")


@command(app)
def compact(index: IndexPlace, device: Device = "auto", as_json: Json = False) -> None:
    """Drop what was removed, join small segments, and embed anew what a damaged one held."""
    from openmofi.progress import shown_progress
    from openmofi.search import Index

    with shown_progress(not as_json) as progress:
        changes = Index.open(index, device=device).compact(progress)
    _print_changes(changes, index, as_json)


@command(app)
def verdicts(
    index: IndexPlace,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", parser=output_path, metavar="FILE.parquet", help="Write the table.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", parser=input_path, metavar="FILE.parquet", help="Take in what another index wrote."),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(metavar="LABELS", help="Folder of labels that they are of, where the index was built of several."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Write what people said of labels as Parquet, which `openmofi label --verdicts` takes, or take in such a file.

    The file outlives the index, its version, its encoder and where it lies. Write it before you build an index anew.
    """
    if (out is None) == (source is None):
        raise UsageError("Verdicts are written or taken in.", "Give -o FILE.parquet, or --from FILE.parquet.")
    from openmofi.schema import VERDICTS
    from openmofi.search import Index
    from openmofi.search.store.connection import place_of
    from openmofi.search.store.database import OtherVersion
    from openmofi.search.verdicts import kept_verdicts
    from openmofi.storage import read_parquet, write_table

    if source:
        table = read_parquet(source, VERDICTS, hint="Write it again: openmofi index verdicts INDEX -o FILE.parquet.")
        new = Index.open(index).take_in_verdicts(table)
        if as_json:
            print_json({"file": str(source), "verdicts": table.num_rows, "new": new})
        else:
            typer.echo(f"{source}: {table.num_rows:,} verdicts, {new:,} of them new in {index}")
        return
    assert out is not None
    try:
        table = Index.open(index).verdict_table(labels)
    except OtherVersion:
        table = kept_verdicts(place_of(index))
    write_table(out, table)
    counted = table.num_rows - table["stratum"].null_count
    if as_json:
        print_json({"file": str(out), "verdicts": table.num_rows, "of_labels": counted})
    else:
        typer.echo(f"{out}: {table.num_rows:,} verdicts, {counted:,} of them on labels that a label job can take")


def _print_changes(changes: Changes, index: Any, as_json: bool, folder: Any = None) -> None:
    """Print them; `folder` is that of an index in a store on this machine."""
    if as_json:
        print_json(asdict(changes))
        return
    from openmofi.cli.tables import print_facts
    from openmofi.pairs.problems import PROBLEMS_FILE, REASONS

    print_facts({name: _fact_text(value) for name, value in {"index": str(index), **asdict(changes)}.items() if value})
    if set(changes.statuses) & set(REASONS) and (problems := Path(str(folder or index), PROBLEMS_FILE)).is_file():
        typer.echo(f"images that could not be used, and why: {problems}")


def _say_uncalibrated(index: Index, address: Any) -> None:
    """On standard error, so that JSON is by itself on standard output."""
    if sentence := index.info().uncalibrated:
        typer.echo(visible(f"{sentence} openmofi index info {address} says what to do."), err=True)


def _fact_text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {_fact_text(each)}" for name, each in value.items())
    if isinstance(value, tuple | list):
        return "\n".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
