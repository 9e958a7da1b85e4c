"""`openmofi train`: labelled dataset → encoder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    recipe: Annotated[str | None, typer.Argument(
        metavar="RECIPE", help="A packaged recipe by name (see --list), or a YAML file.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(
        "-o", "--out", metavar="RUN", help="Folder of the run; the encoder opens as run:RUN/encoder.")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe, as optimizer.lr=3e-4; may be repeated.",
    )] = None,
    dataset: Annotated[Path | None, typer.Option(
        help="Folder that `openmofi dataset build` wrote; short for --set data.dataset=DIR.", metavar="DIR")] = None,
    kb: Annotated[Path | None, typer.Option(
        help="Knowledge base, for the names of entities; short for --set data.kb=DIR.", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on from the latest checkpoint in RUN; start where there is none.")] = False,
    show: Annotated[bool, typer.Option(
        "--show", help="Print the recipe with every setting, and train nothing.")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the packaged recipes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final figures as JSON.")] = False,
) -> None:
    """Train an image encoder on a labelled dataset, as a recipe says.

    Ctrl-C writes a checkpoint and leaves; the same command with --resume goes on. On several GPUs:
    torchrun --nproc-per-node 8 -m openmofi train RECIPE -o RUN
    """
    if list_recipes:
        from openmofi.cli.show.tables import print_names
        from openmofi.config.recipes import recipe_names
        from openmofi.training.recipe.rules import RECIPES

        print_names(recipe_names(RECIPES), as_json)
        return
    from openmofi.cli.recipes import folder_of, named, path_setting, print_recipe
    from openmofi.training.recipe.rules import load_recipe

    recipe = named(recipe)
    loaded = load_recipe(recipe, [*(settings or ()), *path_setting("data.dataset", dataset),
                                  *path_setting("data.kb", kb)])
    if show:
        print_recipe(loaded, as_json)
        return
    _train(loaded, folder_of(out), resume=resume, as_json=as_json)


def _train(recipe: Any, out: Path, *, resume: bool, as_json: bool) -> None:
    from openmofi.cli.recipes import resumable
    from openmofi.progress import shown_training
    from openmofi.training.recipe.rules import require_data

    require_data(recipe)
    from openmofi.training.run import train as run_training

    # torchrun starts this command once a rank; the first one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    quiet = as_json or not first
    with resumable(), shown_training(not quiet) as (watcher, progress):
        found = run_training(recipe, out, resume=resume, watcher=watcher, progress=progress)
    if first:
        _print_result(found, out, as_json)


def _print_result(found: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"run": str(out), **found}, indent=2, ensure_ascii=False))
        return
    from openmofi.progress import training_line

    # A run that was resumed at its very end has trained nothing.
    told = f": {training_line(found['metrics'])}" if found.get("metrics") else ""
    typer.echo(f"{found['steps']:,} steps{told}")
    if best := found.get("best"):
        typer.echo(f"best {best['metric']}: {best['value']:.4f} at step {best['step']:,}")
    typer.echo(f"encoder: run:{out / 'encoder'}")
