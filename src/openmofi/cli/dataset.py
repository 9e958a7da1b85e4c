"""`openmofi dataset`: labels → labelled dataset; packages add exports and the audit."""

from typing import Annotated

import typer

from openmofi.api import datasets as api
from openmofi.cli.command import Commands, command, group, print_json
from openmofi.cli.options import MANY, OUT_STORE, Call, Json, made_of


class _Dataset(Commands):
    order = ("build", "export", "audit")


app = group("dataset", "Turn labels into a dataset, report on it, audit it.", _Dataset)


@app.callback()
def _group() -> None:
    # Without a callback typer takes a group of one command for that command.
    ...


@command(app)
@made_of(
    api.build_dataset,
    out=OUT_STORE,
    exclude=MANY,
    exclude_cosine=Annotated[str, typer.Option(metavar="COSINE|auto|off")],
)
def build(call: Call, out: str, as_json: Json = False) -> None:
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
