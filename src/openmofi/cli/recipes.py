"""What the commands that train from a recipe have in common: options, the list of recipes, what is missing."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from openmofi.cli.command import output_path, print_json
from openmofi.errors import UsageError

Value = TypeVar("Value")

RecipeName = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE", help="A packaged recipe by name (see --list), or a YAML file.", show_default=False
    ),
]
Run = Annotated[Path | None, typer.Option("-o", "--out", parser=output_path, metavar="RUN")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe, as optimizer.lr=3e-4; may be repeated."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the latest checkpoint in RUN; start where there is none.")
]
Show = Annotated[bool, typer.Option("--show", help="Print the recipe with every setting, and train nothing.")]
ListRecipes = Annotated[bool, typer.Option("--list", help="List the packaged recipes.")]


def required(value: Value | None, what: str, hint: str) -> Value:
    """An argument that some uses of a command need and others do not.

    Raises:
        UsageError: it is missing.
    """
    if value is None:
        raise UsageError(f"No {what} is given.", hint)
    return value


def changes(settings: Sequence[str] | None, paths: Mapping[str, str | Path | None]) -> list[str]:
    """The changes to a recipe: `--set`, then the options that are short for `--set KEY=PATH`."""
    # JSON is YAML: a path with a colon or a hash in it stays one text.
    return [
        *(settings or ()),
        *(f"{key}={json.dumps(str(path), ensure_ascii=False)}" for key, path in paths.items() if path is not None),
    ]


def recipe_to_train(
    name: str | None,
    settings: Sequence[str],
    folder: Traversable,
    load: Callable[[str, Sequence[str]], Any],
    *,
    show: bool,
    list_recipes: bool,
    as_json: bool,
) -> str:
    """The recipe's name or path; where `--list` or `--show` asks for it, print instead and end the command.

    Args:
        name: of a packaged recipe, or a YAML file.
        settings: changes to it, as KEY=VALUE.
        folder: the packaged recipes.
        load: opens a recipe.
        show, list_recipes, as_json: the options.

    Raises:
        UsageError: no recipe is named, or what `load` raises.
    """
    from openmofi.cli.tables import print_names
    from openmofi.config.recipes import recipe_dict, recipe_names, recipe_yaml

    if list_recipes:
        print_names(recipe_names(folder), as_json)
        raise typer.Exit
    name = named(name)
    if not show:
        return name
    if as_json:
        print_json(recipe_dict(load(name, settings)))
    else:
        typer.echo(recipe_yaml(load(name, settings)), nl=False)
    raise typer.Exit


def named(name: str | None) -> str:
    """The recipe's name or path.

    Raises:
        UsageError: it is missing.
    """
    return required(name, "recipe", "Name one, or a YAML file; --list shows the packaged ones.")


def run_folder(out: Path | None) -> Path:
    """The run's folder.

    Raises:
        UsageError: it is missing.
    """
    return required(out, "folder for the run", "Add -o RUN.")


def check_start(*, resume: bool, restart: bool) -> None:
    """Refuse `--resume` with `--restart`.

    Raises:
        UsageError: both are set.
    """
    if resume and restart:
        raise UsageError("--resume goes on and --restart begins anew.", "Give one of them.")


@contextmanager
def resumable() -> Generator[None]:
    """Ctrl-C inside says how the run goes on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("add --resume to the same command to go on from the last checkpoint") from error
