"""`openmofi train`: labelled dataset → encoder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.api import encoders as api
from openmofi.cli import recipes
from openmofi.cli.command import print_json
from openmofi.cli.options import PLACE, Call, Json, made_of
from openmofi.extensions import own_part


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
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="Number of GPUs of a node, for --plan.")] = 8,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Number of nodes, for --plan.")] = 1,
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
        own_part("planners", "plan")(load_recipe(name, overrides), gpu, gpus, nodes, classes, as_json)
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
