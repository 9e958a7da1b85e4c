"""`openmofi train`: labelled dataset → encoder."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.api import encoders as api
from openmofi.cli import recipes
from openmofi.cli.command import print_json
from openmofi.cli.options import PLACE, Call, Json, made_of
from openmofi.errors import UsageError, did_you_mean


@made_of(
    api.train,
    recipe=recipes.RecipeName,
    out=recipes.Run,
    dataset=PLACE,
    labels=PLACE,
    kb=PLACE,
    encoder=Annotated[str, typer.Option(metavar="SPEC")],
)
def train(
    call: Call,
    recipe: str | None,
    out: Path | None,
    dataset: str | None,
    kb: str | None,
    encoder: str,
    resume: bool,
    restart: bool,
    changes: recipes.Set = None,
    show: recipes.Show = False,
    list_recipes: recipes.ListRecipes = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate memory and hours on GPUs, without any, and train nothing.")
    ] = False,
    gpu: Annotated[str, typer.Option("--gpu", metavar="NAME", help="Kind of GPU, for --plan.")] = "a100-80gb",
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="Number of GPUs, for --plan.")] = 8,
    classes: Annotated[
        int | None,
        typer.Option(
            "--classes", min=1, help="Classes, for --plan; else the dataset's, or 2 million.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train an image encoder on a labelled dataset, as a recipe says.

    Ctrl-C writes a checkpoint and leaves; the same command with --resume goes on. On several GPUs:
    torchrun --nproc-per-node 8 -m openmofi train RECIPE -o RUN
    """
    from openmofi.config.layers import leaves_of
    from openmofi.training.recipe import Recipe
    from openmofi.training.recipe.rules import RECIPES, load_recipe

    overrides = recipes.changes(changes, {"data.dataset": dataset, "data.kb": kb})
    if encoder and (show or plan):
        from openmofi.training.recipe.rules import over_encoder

        overrides = [*over_encoder(load_recipe(recipes.named(recipe), overrides), encoder), *overrides]
    name = recipes.recipe_to_train(
        recipe, overrides, RECIPES, load_recipe, show=show, list_recipes=list_recipes, as_json=as_json
    )
    if plan:
        _print_plan(load_recipe(name, overrides), gpu, gpus, classes, as_json)
        return
    recipes.check_start(resume=resume, restart=restart)
    # torchrun starts this command once a rank; the first one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    recipes.run_folder(out)
    with recipes.resumable():
        run = call(progress=first and not as_json, **leaves_of(Recipe, changes or ()))
    if not first:
        return
    if as_json:
        print_json({"run": str(out), **run.summary})
    else:
        _print_summary(run.summary, run.path)


def _print_plan(recipe: Any, name: str, gpus: int, classes: int | None, as_json: bool) -> None:
    """What a GPU would hold, and how long the run would take."""
    from openmofi.cli.tables import print_table
    from openmofi.dataset.tables import Folder
    from openmofi.training.fake_passes import measured_towers
    from openmofi.training.model import inputs_of
    from openmofi.training.plan_memory import CLASSES, GPUS, RESERVE, UTILISATION, planned

    if name not in GPUS:
        raise UsageError(
            f"unknown value {name!r} for --gpu.{did_you_mean(name, GPUS)}", f"Known are {', '.join(GPUS)}."
        )
    if classes is None:
        classes = len(Folder.open(recipe.data.dataset, "dataset").vocabulary) if recipe.data.dataset else CLASSES
    found = planned(recipe, measured_towers(recipe, inputs_of(recipe.model)), GPUS[name], gpus=gpus, classes=classes)
    if as_json:
        print_json(
            {"plan": found.verdict, "hint": found.hint, "left": found.left, "utilisation": UTILISATION, **asdict(found)}
        )
        return
    rows = [(part.replace("_", " "), f"{size / 2**30:.1f}") for part, size in found.memory.items()]
    print_table(("on each GPU", "GiB"), [*rows, ("together", f"{sum(found.memory.values()) / 2**30:.1f}")])
    typer.echo(f"{found.verdict} {found.hint}".rstrip())
    heads = f"{found.classes:,} classes; " if found.classes else ""
    typer.echo(
        f"{heads}{(found.flops + found.loss_flops) / 1e12:,.1f} TFLOP a step on each GPU, "
        f"{found.hours:,.1f} hours at {UTILISATION:.0%} of its peak (assumed); "
        f"{found.host * gpus / 2**30:.1f} GiB of shared memory for the loaders of all ranks"
    )
    typer.echo(
        f"Estimated, as without torch.compile, which keeps less; {RESERVE >> 30} GiB are assumed for CUDA and NCCL."
    )


def _print_summary(summary: Mapping[str, Any], path: Path) -> None:
    """What was trained, how well, and where it lies."""
    from openmofi.progress import training_line

    # A run that was resumed at its very end has trained nothing.
    line = f": {training_line(summary['metrics'])}" if summary.get("metrics") else ""
    typer.echo(f"{summary['steps']:,} steps{line}")
    if best := summary.get("best"):
        typer.echo(f"best {best['metric']}: {best['value']:.4f} at step {best['step']:,}")
    if results := summary.get("results"):
        _print_results(results)
        typer.echo(f"report: {path / 'report.html'}")
    typer.echo(f"encoder: run:{path / 'encoder'}")


def _print_results(results: Mapping[str, Any]) -> None:
    """What the head does with entities that it never saw, beside the encoder under it."""
    from openmofi.cli.tables import print_table

    names = {"map_excl_query": "mAP, query excluded", "recall_at_1": "recall at 1", "zero_shot": "zero-shot"}
    rows = [
        (
            f"{title}, {length} dimensions",
            *("–" if (value := figures[key]) is None else f"{value:.3f}" for key in names),
        )
        for side, title in (("before", "encoder"), ("after", "with the head"))
        for length, figures in sorted(results[side].items(), key=lambda item: -int(item[0]))
    ]
    print_table(
        ("", *names.values()),
        rows,
        title=f"{results['rows']:,} images of {results['entities']:,} entities that were held out",
    )
