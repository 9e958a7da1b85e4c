"""`openmofi label`: the main job; `openmofi label audit`: a look by a person at what it made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
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
    input_path,
    output_path,
    output_place,
    print_json,
)
from openmofi.errors import UsageError


def label(
    shards: Annotated[list[str], typer.Argument(help="Tar or Parquet, folders, globs, '{00..09}' ranges, URLs.")],
    kb: Annotated[str, typer.Option(help="Folder of the knowledge base, or its address.")],
    encoder: Annotated[str, typer.Option(help="sample, open_clip:ARCH/PRETRAINED, hf:PATH-OR-ID or run:PATH.")],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            parser=output_place,
            metavar="FOLDER",
            help="Folder of the labels, also s3://… and other stores.",
        ),
    ],
    detector: Annotated[
        str,
        typer.Option(help="gazetteer[?languages=A,B], spacy[:MODEL], gliner:MODEL[?types=A,B]; several joined by +."),
    ] = "gazetteer",
    linker: Annotated[str, typer.Option(help="coherence, prior or fusion:PATH.")] = "coherence",
    threshold: Annotated[float, typer.Option(help="Accept from this calibrated probability on.")] = 0.8,
    target_precision: Annotated[float | None, typer.Option(help="Choose the threshold for this precision.")] = None,
    top_k: Annotated[int, typer.Option(help="Labels an image, at most.")] = 5,
    sibling_margin: Annotated[float, typer.Option(help="Lead over the mention's second candidate.")] = 0.0,
    template: Annotated[str, typer.Option(help="Entity text for the encoder.")] = "{name}: {description}",
    max_candidates: Annotated[int, typer.Option(help="Candidates a mention that the image judges.")] = 8,
    boilerplate: Annotated[
        bool, typer.Option(help="Mark what texts repeat whatever is shown, credits, addresses, dates, file names.")
    ] = True,
    adapt: Annotated[
        bool,
        typer.Option("--adapt", help="Fit a light adapter on the job's own links; used where a check finds it better."),
    ] = False,
    rescue: Annotated[bool, typer.Option("--rescue", help="Judge again with what was found as witnesses.")] = False,
    calibration: Annotated[Path | None, typer.Option(help="Use this calibration.json.")] = None,
    verdicts: Annotated[
        Any,
        typer.Option(
            parser=index_place,
            metavar="FILE",
            help="Choose the threshold for --target-precision by verdicts: those of `openmofi label audit`, or of an "
            "index (its folder or address, or what `openmofi index verdicts` wrote).",
        ),
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(
            parser=output_place, metavar="FOLDER", help="Shared by jobs: links, features (default: the output)."
        ),
    ] = None,
    on_damage: OnDamage = "stop",
    max_unpack_ratio: MaxUnpackRatio = 200,
    text_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of tables with the text (default: a common name), or 'PATTERN=COLUMN' for some inputs."
        ),
    ] = None,
    image_column: Annotated[list[str] | None, typer.Option(help="With the image or its path, likewise.")] = None,
    key_column: Annotated[list[str] | None, typer.Option(help="With the key, likewise.")] = None,
    image_root: Annotated[
        str, typer.Option(help="Folder that the images of tables lie below (default: the table's own).")
    ] = "",
    max_image_pixels: MaxImagePixels = 89_478_485,
    batch_size: Annotated[int, typer.Option(help="Images a forward pass.")] = 64,
    device: Device = "auto",
    precision: Precision = "fp32",
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the encoder's image side by torch.compile; pays on long jobs.")
    ] = False,
    engine: EngineName = "auto",
    seed: Annotated[int, typer.Option(help="Of the calibration's shuffles and the adapter.")] = 0,
    restart: Restart = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show some accepted labels as they come.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Label image–text pairs: one label Parquet a shard, rows in = rows out. Then: openmofi label audit --help."""
    from openmofi import api
    from openmofi.progress import shown_progress, watched_progress

    with watched_progress() if watch else shown_progress(not as_json) as progress:
        labels = api.label(
            shards,
            kb=kb,
            encoder=encoder,
            out=out,
            detector=detector,
            linker=linker,
            threshold=threshold,
            target_precision=target_precision,
            top_k=top_k,
            sibling_margin=sibling_margin,
            template=template,
            max_candidates=max_candidates,
            boilerplate=boilerplate,
            adapt=adapt,
            rescue=rescue,
            calibration=calibration,
            verdicts=verdicts,
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
            compile=compile,
            engine=engine,
            seed=seed,
            restart=restart,
            progress=progress,
        )
    if as_json:
        print_json(labels.summary)
    else:
        _print_counts(labels.summary, out)


def _print_counts(counts: Mapping[str, Any], out: str) -> None:
    from openmofi.cli.show.tables import print_table

    print_table(
        ("status", "pairs"),
        [(status, f"{count:,}") for status, count in sorted(counts["status"].items(), key=lambda item: -item[1])],
        title=f"{counts['rows_out']:,} of {counts['rows_in']:,} pairs in {out}",
    )
    if unread := counts.get("unread_formats"):
        from openmofi.pairs.images.formats import shown_formats

        typer.echo(f"{sum(unread.values()):,} images in a format that is not read ({shown_formats(unread)})")
    precision = counts["expected_precision"]
    typer.echo(
        f"{counts['accepted']:,} labels accepted from probability {counts['threshold']:.3f} on"
        + ("" if precision is None else f"; expected precision {precision:.3f}")
    )
    if (device := counts.get("device", "cpu")) != "cpu":
        typer.echo(
            f"the encoder ran on {device} in {counts.get('precision', 'fp32')}"
            + (", compiled" if counts.get("compiled") else "")
        )
    if (marked := counts["boilerplate"])["marked"]:
        commonest = "; ".join(f"{rows:,} × {shorten(piece, 48)!r}" for piece, rows in marked["pieces"][:3])
        typer.echo(
            f"boilerplate: {marked['marked']:,} of {marked['mentions']:,} mentions"
            + (f"; repeated most: {commonest}" if commonest else "")
        )
    if said := counts.get("verdicts"):
        corrected = said["corrected_precision"]
        typer.echo(
            f"threshold by {said['judged']:,} verdicts ({said['unsure']:,} unsure left out)"
            + ("" if corrected is None else f"; precision corrected by them {corrected:.3f}")
        )
    if adapter := counts.get("adapter"):
        typer.echo(adapter["why"])


def audit(
    labels: Annotated[Path, typer.Argument(parser=input_path, help="Folder written by `openmofi label`.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", parser=output_path, metavar="PAGE.html", help="Write a page on which a person judges."
        ),
    ] = None,
    verdicts: Annotated[
        Any,
        typer.Option(
            parser=index_place, metavar="FILE", help="Correct the precision by what it saved, or by an index."
        ),
    ] = None,
    sample: Annotated[int, typer.Option(help="Labels to draw for the page.")] = 200,
    by: Annotated[str, typer.Option(help="What strata are made of: probability, type or both.")] = "probability,type",
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    kb: Annotated[
        Path | None,
        typer.Option(parser=input_path, help="Knowledge base: names, descriptions, types; by default the labels' own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw labels for a page on which a person judges them, or correct the labels' precision by the verdicts."""
    if (out is None) == (verdicts is None):
        raise UsageError(
            "A look at labels writes a page or reads what it saved.", "Give -o PAGE.html, or --verdicts FILE."
        )
    from openmofi.cli.show.tables import print_corrected
    from openmofi.dataset.objects import Labels
    from openmofi.knowledge import KnowledgeBase

    opened, known = Labels.open(labels), KnowledgeBase.open(kb) if kb else None
    if verdicts:
        from openmofi.given import verdicts_of

        corrected = opened.corrected(verdicts_of(verdicts), kb=known).as_dict()
        if as_json:
            print_json(corrected)
        else:
            print_corrected(corrected)
        return
    assert out is not None
    drawn = opened.audit_page(out, sample=sample, by=[part.strip() for part in by.split(",")], seed=seed, kb=known)
    size, below = len(drawn.drawn), len(drawn.drawn) - drawn.accepted
    if as_json:
        print_json(
            {
                "page": str(out),
                "drawn": size,
                "accepted": drawn.accepted,
                "below_threshold": below,
                "strata": {stratum.name: stratum.labels for stratum in drawn.strata},
            }
        )
        return
    typer.echo(
        f"{out}: {drawn.accepted:,} labels and {below:,} candidates below the threshold, "
        f"of {len(drawn.strata):,} strata" + ("; there are no more" if size < sample else "")
    )
    typer.echo(f"Judge them in a browser, save, then: openmofi label audit {labels} --verdicts verdicts.json")
