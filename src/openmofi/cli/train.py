"""`openmofi train`: labelled dataset → encoder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from openmofi.cli import recipes
from openmofi.cli.command import Restart, input_path, output_path, print_json


def train(
    recipe: recipes.RecipeName = None,
    out: Annotated[Path | None, typer.Option(
        "-o", "--out", parser=output_path, metavar="RUN",
        help="Folder of the run; the encoder opens as run:RUN/encoder.")] = None,
    settings: recipes.Set = None,
    dataset: Annotated[Path | None, typer.Option(
        parser=input_path,
        help="Folder that `openmofi dataset build` wrote; short for --set data.dataset=DIR.", metavar="DIR")] = None,
    kb: Annotated[Path | None, typer.Option(
        parser=input_path,
        help="Knowledge base, for the names of entities; short for --set data.kb=DIR.", metavar="DIR")] = None,
    resume: recipes.Resume = False,
    restart: Restart = False,
    show: recipes.Show = False,
    list_recipes: recipes.ListRecipes = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final figures as JSON.")] = False,
) -> None:
    """Train an image encoder on a labelled dataset, as a recipe says.

    Ctrl-C writes a checkpoint and leaves; the same command with --resume goes on. On several GPUs:
    torchrun --nproc-per-node 8 -m openmofi train RECIPE -o RUN
    """
    from openmofi.training.recipe.rules import RECIPES, load_recipe

    overrides = recipes.changes(settings, {"data.dataset": dataset, "data.kb": kb})
    recipe = recipes.recipe_to_train(recipe, overrides, RECIPES, load_recipe, show=show, list_recipes=list_recipes,
                                     as_json=as_json)
    recipes.check_start(resume=resume, restart=restart)
    from openmofi import api

    # torchrun starts this command once a rank; the first one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    with recipes.resumable():
        run = api.train(recipe, out=recipes.run_folder(out), settings=overrides, resume=resume,
                        restart=restart, progress=first and not as_json)
    if not first:
        return
    from openmofi.progress import training_line

    summary = run.summary
    if as_json:
        print_json({"run": str(out), **summary})
        return
    # A run that was resumed at its very end has trained nothing.
    line = f": {training_line(summary['metrics'])}" if summary.get("metrics") else ""
    typer.echo(f"{summary['steps']:,} steps{line}")
    if best := summary.get("best"):
        typer.echo(f"best {best['metric']}: {best['value']:.4f} at step {best['step']:,}")
    typer.echo(f"encoder: run:{run.path / 'encoder'}")
