"""`openmofi study`: studies of training on a labelled dataset."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli import recipes
from openmofi.cli.command import command, group, input_path, output_path, print_json
from openmofi.errors import UsageError

app = group("study", "Compare ways to train on a dataset, with size and noise held equal.")


@app.callback()
def _group() -> None:
    """Compare ways to train on a labelled dataset, with what could confound them held equal."""


@command(app, "size")
def size(
    datasets: Annotated[
        list[Path],
        typer.Argument(parser=input_path, metavar="DATASET...", help="Folders that `openmofi dataset build` wrote."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            parser=output_path,
            metavar="OUT",
            help="Folder of the study; what was trained there is not trained again.",
        ),
    ],
    kb: Annotated[
        Path | None, typer.Option(parser=input_path, metavar="DIR", help="Knowledge base, for the names of entities.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(metavar="RECIPE", help="Towers, optimiser and steps; objectives and texts are the study's.")
    ] = "entity_head",
    encoder: Annotated[
        str, typer.Option(metavar="SPEC", help="Frozen encoder on whose features heads are trained.")
    ] = "",
    sizes: Annotated[
        str, typer.Option(metavar="SHARES", help="Shares of the labelled pairs, or none.")
    ] = "1/8,1/4,1/2,1",
    thresholds: Annotated[
        str, typer.Option(metavar="PROBABILITIES", help="Least probabilities of a label, or none.")
    ] = "0.5,0.65,0.8,0.9,0.95",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each point.")] = 3,
    held_out: Annotated[
        float, typer.Option(help="Share of the entities that no run sees, and that are measured.")
    ] = 0.1,
    benchmark: Annotated[
        str,
        typer.Option(
            metavar="PROTOCOL=DIR", help="Measure on the data of a retrieval protocol instead, and hold out none."
        ),
    ] = "",
    engine: Annotated[str, typer.Option(help="auto, local, processes:N or ray[:ADDRESS].")] = "auto",
    changes: recipes.Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare entities with alt-text at equal numbers of pairs, and of equally sure labels.

    Each run is kept when it is measured: the same command goes on, also with more sizes, thresholds or seeds.
    """
    from studies.size.size import study_size

    metrics = study_size(
        datasets,
        out=out,
        kb=kb,
        recipe=recipe,
        encoder=encoder,
        sizes=_numbers(sizes, "--sizes"),
        thresholds=_numbers(thresholds, "--thresholds"),
        seeds=seeds,
        held_out=held_out,
        benchmark=benchmark,
        engine=engine,
        overrides=changes or (),
        progress=not as_json,
    )
    if as_json:
        print_json(metrics)
        return
    for name, dataset in metrics["datasets"].items():
        _print_curves(name, dataset)
    typer.echo(f"{metrics['runs']} runs, {metrics['cpu_seconds']:,.0f} CPU seconds; report: {out}/report.html")


def _numbers(text: str, option: str) -> tuple[float, ...]:
    if text == "none":
        return ()
    try:
        return tuple(float(Fraction(part.strip())) for part in text.split(","))
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{option} is {text!r}; it must be numbers with commas between them, or none.") from error


def _print_curves(name: str, dataset: Mapping[str, Any]) -> None:
    from openmofi.cli.tables import print_table
    from studies.size.report import NAMES, TITLES

    titles = {"steps": "sizes, equal steps", "epochs": "sizes, equal epochs", "noise": "thresholds, equal pairs"}
    for curve, title in titles.items():
        for metric, points in ((metric, dataset.get(curve, ())) for metric in NAMES):
            rows = [
                (
                    f"{point['threshold']:g}",
                    f"{point['pairs']:,}",
                    f"{point['epochs']:.1f}",
                    *(
                        _with_interval(point[method][metric]["mean"], point[method][metric]["interval"], "")
                        for method in TITLES
                    ),
                    _with_interval(
                        point["difference"][metric]["difference"],
                        point["difference"][metric]["difference_interval"],
                        "+",
                    ),
                )
                for point in points
                if metric in point["difference"]
            ]
            if rows:
                print_table(
                    ("threshold", "pairs", "epochs", *TITLES.values(), "difference"),
                    rows,
                    title=f"{name}: {title}: {NAMES[metric]}",
                    numbers=range(6),
                )


def _with_interval(mean: float, interval: tuple[float, float], sign: str) -> str:
    low, high = interval
    return f"{mean:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"
