"""`openmofi kb add-images`, `kb diff`, `kb sample`, `kb export` and `kb union`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.cli.command import Restart, input_path, input_place, output_path, print_json
from openmofi.cli.kb import KB
from openmofi.cli.options import Json
from openmofi.cli.tables import print_manifest_facts

if TYPE_CHECKING:
    from openmofi.plugins.bases.diff import Differences


def add_images(
    kb: KB,
    source: Annotated[
        Path, typer.Argument(parser=input_path, metavar="TABLE|FOLDER", help="Images, each with an identifier.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(parser=input_path, metavar="FOLDER", help="That the images of a table lie below; else its own."),
    ] = None,
    most: Annotated[int, typer.Option("--max", min=1, help="Images of an entity that are kept, the first ones.")] = 16,
    as_json: Json = False,
) -> None:
    """Add reference images to the entities of a knowledge base: encoders then know entities by text and by image.

    TABLE has the columns entity (or id) and image, or images with a list; FOLDER has a file or a folder of files for
    each identifier, or shards whose texts are identifiers.
    """
    from openmofi.plugins.bases.images import add_images as add
    from openmofi.progress import shown_progress

    with shown_progress(not as_json):
        counts = add(kb, source, images=images, most=most)
    print_manifest_facts(counts, as_json)


def diff(
    old: Annotated[str, typer.Argument(parser=input_place, help="Folder of the older base.", metavar="OLD")],
    new: Annotated[str, typer.Argument(parser=input_place, help="Folder of the newer base.", metavar="NEW")],
    labels: Annotated[
        str | None,
        typer.Option(parser=input_place, help="Of entities that were judged in this folder of labels alone."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", parser=output_path, help="A .parquet file that gets all changes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what changed between two builds: entities added, removed, merged, renamed, described anew."""
    from openmofi.plugins.bases.diff import diff_kb

    ids = None
    if labels is not None:
        from openmofi.dataset.objects import Labels

        ids = Labels.open(labels).entities()
    print_differences(diff_kb(old, new, ids=ids, out=out), as_json)


def print_differences(differences: Differences, as_json: bool) -> None:
    """Print counts, and the first changes of each kind."""
    if as_json:
        print_json(differences.plain())
        return
    from openmofi.cli.tables import print_counts, print_table

    print_counts("entities", {"unchanged": differences.unchanged, **differences.counts})
    rows = [row for kind, count in differences.counts.items() if count for row in differences.first(kind)]
    if rows:
        print_table(
            ("change", "id", "name", "before", "after"),
            [tuple(value or "" for value in row.values()) for row in rows],
            numbers=(),
            title="the most popular of each",
        )


def sample(
    kb: Annotated[
        str, typer.Argument(parser=input_place, help="Knowledge base: its folder or its address.", metavar="KB")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the slice.", metavar="FOLDER")
    ],
    types: Annotated[str, typer.Option(help="Entities that have one of these types.", metavar="TYPE[,…]")] = "",
    entities: Annotated[
        Path | None,
        typer.Option(
            parser=input_path,
            help="Entities that a file names: an id a line, or a Parquet column.",
            metavar="FILE",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            parser=input_place,
            help="Entities that were judged in this folder of labels, accepted or not.",
            metavar="FOLDER",
        ),
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="Keep so many, the most popular.")] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Remove what was written into the output before, and begin anew, instead of going on."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a slice of a knowledge base: some entities, and their names, priors and vectors as they are."""
    from openmofi.plugins.bases.sample import sample_kb

    kinds = [name.strip() for name in types.split(",") if name.strip()]
    manifest = sample_kb(kb, out, types=kinds, entities=entities, labels=labels, most=most, restart=restart).manifest
    print_manifest_facts({**manifest.counts, "fingerprint": manifest.fingerprint, "inputs": manifest.inputs}, as_json)


def export(
    kb: KB,
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the tables.")],
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Write a knowledge base as the Parquet tables that 'kb build table' takes."""
    from openmofi.plugins.bases.export import export_kb

    counts = export_kb(kb, out, restart=restart).counts
    print_manifest_facts(counts, as_json)
    if not as_json:
        most = max(counts["most_candidates"], 30)
        typer.echo(f"\nTo build it again: openmofi kb build table {out} --candidates {most} -o KB")


def union(
    bases: Annotated[
        list[Path],
        typer.Argument(parser=input_path, metavar="KB...", help="Folders of knowledge bases, or of the tables of one."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the union.")],
    same_as: Annotated[
        Path | None,
        typer.Option(
            parser=input_path, help="A table with the columns id, same_as: what one base calls same_as is id."
        ),
    ] = None,
    weights: Annotated[str, typer.Option(help="Of each base's counts, such as 2,1.", metavar="W,…")] = "",
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most entities a name keeps.  [default: 30, or as many as a base has]", show_default=False
        ),
    ] = None,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Build one knowledge base of several, in whatever order; its tables stay in OUT.tables."""
    from openmofi.errors import UsageError
    from openmofi.plugins.bases.union import union_kb

    try:
        numbers = [float(weight) for weight in weights.split(",")] if weights else None
    except ValueError as error:
        raise UsageError(f"--weights is {weights!r}, which is no list of numbers.", "Write it as 2,1.") from error
    manifest = union_kb(bases, out, weights=numbers, same_as=same_as, candidates=candidates, restart=restart).manifest
    print_manifest_facts({**manifest.counts, "fingerprint": manifest.fingerprint}, as_json)
