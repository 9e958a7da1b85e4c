"""`openmofi dataset`: labels → labelled dataset, and how good the labels are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from openmofi.cli.command import EngineName, Restart, input_place, output_path, print_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Kb = Annotated[
    str | None,
    typer.Option("--kb", parser=input_place, metavar="KB", help="Knowledge base: names, descriptions, types."),
]


@app.command("build")
def build(
    labels: Annotated[
        str,
        typer.Argument(
            parser=input_place, metavar="LABELS", help="Folder written by `openmofi label`, or its address."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Dataset folder.")],
    min_images: Annotated[int, typer.Option(help="Drop entities with fewer images.")] = 5,
    max_images: Annotated[int | None, typer.Option(help="Keep the most probable images of an entity.")] = None,
    near_duplicates: Annotated[
        str,
        typer.Option(
            metavar="BITS|off",
            help="Drop images of one entity whose perceptual hashes differ in at most BITS bits.",
        ),
    ] = "3",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SET",
            help="Leave out copies of an evaluation set's images: a folder of images or class "
            "folders, shards, a Parquet table of hashes, or labels. May be given several times.",
        ),
    ] = None,
    exclude_bits: Annotated[
        int,
        typer.Option(metavar="BITS", help="With --exclude: perceptual hashes of copies differ in at most BITS bits."),
    ] = 3,
    exclude_cosine: Annotated[
        str,
        typer.Option(
            metavar="COSINE|auto|off",
            help="With --exclude: least cosine of the features of copies. auto: from which 95% "
            "of recompressed, halved and cropped copies are found. off: hashes alone.",
        ),
    ] = "auto",
    encoder: Annotated[
        str | None,
        typer.Option(help="With --exclude: gives the features; by default the one that the pairs were labelled with."),
    ] = None,
    kb: Kb = None,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Build a labelled dataset: vocabulary, statistics, card and report; no image is copied."""
    from dataclasses import asdict

    from openmofi import api
    from openmofi.cli.show.tables import print_counts
    from openmofi.dataset import parse_near_duplicates

    statistics = api.build_dataset(
        labels,
        out=out,
        kb=kb,
        min_images=min_images,
        max_images=max_images,
        near_duplicates=parse_near_duplicates(near_duplicates),
        exclude=exclude or (),
        exclude_bits=exclude_bits,
        exclude_cosine=exclude_cosine,
        encoder=encoder,
        report=report,
        restart=restart,
    ).statistics
    if as_json:
        print_json(asdict(statistics))
        return
    print_counts("pairs", statistics.funnel)
    print_counts("labelled images", statistics.outcomes)
    typer.echo(f"{statistics.images:,} images, {statistics.entities:,} entities, {statistics.labels:,} labels: {out}")


@app.command("export")
def export(
    dataset: Annotated[
        str, typer.Argument(parser=input_place, metavar="DATASET", help="Folder written by `openmofi dataset build`.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="The folder to write.")],
    style: Annotated[
        Literal["huggingface", "webdataset", "parquet", "coco", "fiftyone", "imagefolder", "quickstatements", "xmp"],
        typer.Option("--format", help="What opens it."),
    ],
    images: Annotated[
        Literal["auto", "embed", "reference"],
        typer.Option(
            help="auto: refer to images that are files of their own, take those inside tars or Parquet along."
        ),
    ] = "auto",
    min_probability: Annotated[float, typer.Option(min=0, max=1, help="Leave labels below it out.")] = 0.0,
    kb: Annotated[
        str | None,
        typer.Option("--kb", parser=input_place, metavar="KB", help="Knowledge base: what is above a class."),
    ] = None,
    licence: Annotated[str, typer.Option("--license", help="For the card: the licence of the images.")] = "unknown",
    name: Annotated[str, typer.Option(help="For the card; by default the folder's name.")] = "",
    image_column: Annotated[list[str] | None, typer.Option(help="Of tables of pairs, as for openmofi label.")] = None,
    key_column: Annotated[list[str] | None, typer.Option(help="The same.")] = None,
    image_root: Annotated[str, typer.Option(help="The same.")] = "",
    push: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Upload it to this dataset of the Hugging Face hub.")
    ] = "",
    private: Annotated[bool, typer.Option(help="With --push: a repository that is made is private.")] = False,
    engine: EngineName = "auto",
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Write a dataset in a format that other tools open, with a card and Croissant metadata; goes on if stopped."""
    from openmofi import api_export as api

    counts = api.export_dataset(
        dataset,
        out,
        format=style,
        images=images,
        min_probability=min_probability,
        kb=kb,
        licence=licence,
        name=name,
        image_column=image_column or "",
        key_column=key_column or "",
        image_root=image_root,
        push=push,
        private=private,
        engine=engine,
        restart=restart,
    )
    if as_json:
        print_json(counts)
        return
    typer.echo(
        f"{counts['images']:,} images, {counts['labels']:,} labels of {counts['classes']:,} classes: {out}"
        + (f"; pushed to {push}" if push else "")
    )


@app.command("audit")
def audit(
    folder: Annotated[
        str, typer.Argument(parser=input_place, metavar="LABELS_OR_DATASET", help="Labels or dataset folder.")
    ],
    truth: Annotated[
        Path,
        typer.Option(
            "--truth", help="What images show: a CSV, TSV, JSON-lines or Parquet table with the columns key and entity."
        ),
    ],
    at_recall: Annotated[float, typer.Option(min=0, max=1, help="Recall at which selectors are compared.")] = 0.75,
    split: Annotated[str | None, typer.Option(help="Only the pairs of this split.")] = None,
    kb: Annotated[
        Path | None,
        typer.Option("--kb", help="Knowledge base for the names of entities in the truth; by default the labels' own."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", parser=output_path, help="Write the whole audit as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare labels with the truth: precision, recall, groups, the text-only linker beside it."""
    from openmofi import api
    from openmofi.cli.show.tables import print_audit
    from openmofi.storage import write_json

    result = api.audit(folder, truth, at_recall=at_recall, split=split, kb=kb).as_dict()
    if out:
        write_json(out, result)
    if as_json:
        print_json(result)
    else:
        print_audit(result)
