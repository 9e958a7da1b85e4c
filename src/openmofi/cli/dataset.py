"""`openmofi dataset`: labels → labelled dataset, and how good the labels are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Kb = Annotated[Path | None, typer.Option("--kb", help="Knowledge base: names, descriptions, types.")]


@app.command("build")
def build(
    labels: Annotated[Path, typer.Argument(help="Folder written by `openmofi label`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Dataset folder.")],
    min_images: Annotated[int, typer.Option(help="Drop entities with fewer images.")] = 5,
    max_images: Annotated[int | None, typer.Option(help="Keep the most probable images of an entity.")] = None,
    near_duplicates: Annotated[str, typer.Option(
        metavar="BITS|off", help="Drop images of one entity whose perceptual hashes differ in at most BITS bits.",
    )] = "3",
    kb: Kb = None,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    as_json: Json = False,
) -> None:
    """Build a labelled dataset: vocabulary, statistics, card and report; no image is copied."""
    import json
    from dataclasses import asdict

    from openmofi.cli.show.tables import print_counts
    from openmofi.dataset import DatasetSettings, build_dataset, parse_near_duplicates
    from openmofi.knowledge import KnowledgeBase

    settings = DatasetSettings(min_images, max_images, parse_near_duplicates(near_duplicates))
    statistics = build_dataset(labels, out, settings, kb=KnowledgeBase.open(kb) if kb else None, report=report)
    if as_json:
        typer.echo(json.dumps(asdict(statistics), ensure_ascii=False))
        return
    print_counts("pairs", statistics.funnel)
    print_counts("labelled images", statistics.outcomes)
    typer.echo(f"{statistics.images:,} images, {statistics.entities:,} entities, {statistics.labels:,} labels: {out}")


@app.command("audit")
def audit(
    folder: Annotated[Path, typer.Argument(metavar="LABELS_OR_DATASET", help="Labels or dataset folder.")],
    truth: Annotated[Path, typer.Option("--truth", help="Truth table (Parquet).")],
    at_recall: Annotated[float, typer.Option(min=0, max=1, help="Recall at which selectors are compared.")] = 0.75,
    split: Annotated[str | None, typer.Option(help="Only the pairs of this split.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the whole audit as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Compare labels with the truth: precision, recall, groups, the text-only linker beside it."""
    import json

    from openmofi.cli.show.tables import print_audit
    from openmofi.dataset.audit.audit import audit as run_audit
    from openmofi.storage import write_json

    result = run_audit(folder, truth, at_recall=at_recall, split=split)
    if out:
        write_json(out, result.as_dict())
    if as_json:
        typer.echo(json.dumps(result.as_dict(), ensure_ascii=False))
        return
    print_audit(result.as_dict())
