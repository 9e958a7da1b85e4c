"""`openmofi dataset`: labels → labelled dataset, and how good the labels are."""

from pathlib import Path
from typing import Annotated

import typer

from openmofi.api import datasets as api
from openmofi.cli.command import Commands, command, group, output_path, print_json
from openmofi.cli.options import MANY, Call, Json, made_of


class _Dataset(Commands):
    order = ("build", "export", "audit")


app = group("dataset", "Turn labels into a dataset, report on it, audit it.", _Dataset)


@command(app)
@made_of(api.build_dataset, exclude=MANY, exclude_cosine=Annotated[str, typer.Option(metavar="COSINE|auto|off")])
def build(call: Call, out: Path, as_json: Json = False) -> None:
    """Build a labelled dataset: vocabulary, statistics, card and report; no image is copied."""
    from dataclasses import asdict

    from openmofi.cli.tables import print_counts

    statistics = call().statistics
    if as_json:
        print_json(asdict(statistics))
        return
    print_counts("pairs", statistics.funnel)
    print_counts("labelled images", statistics.outcomes)
    typer.echo(f"{statistics.images:,} images, {statistics.entities:,} entities, {statistics.labels:,} labels: {out}")


@command(app)
@made_of(api.audit, truth=Annotated[Path, typer.Option()])
def audit(
    call: Call,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", parser=output_path, help="Write the whole audit as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare labels with the truth: precision, recall, groups, the text-only linker beside it."""
    from openmofi.cli.tables import print_audit, print_corrected
    from openmofi.storage import write_json

    result = call().as_dict()
    if out:
        write_json(out, result)
    if as_json:
        print_json(result)
    else:
        (print_audit if "overall" in result else print_corrected)(result)
