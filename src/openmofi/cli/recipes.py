"""What the commands that train from a recipe have in common."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from openmofi.errors import UsageError


def named(recipe: str | None) -> str:
    """The recipe's name or path.

    Raises:
        UsageError: there is none.
    """
    if recipe is None:
        raise UsageError("There is no recipe to train.", "Name one, or a YAML file; --list shows the packaged ones.")
    return recipe


def folder_of(out: Path | None) -> Path:
    """The run's folder.

    Raises:
        UsageError: there is none.
    """
    if out is None:
        raise UsageError("There is no folder for the run.", "Add -o RUN.")
    return out


def path_setting(key: str, path: Path | None) -> list[str]:
    """An option that is short for `--set KEY=PATH`."""
    # JSON is YAML: a path with a colon or a hash in it stays one text.
    return [] if path is None else [f"{key}={json.dumps(str(path), ensure_ascii=False)}"]


def print_recipe(recipe: Any, as_json: bool) -> None:
    """Print a recipe with every setting."""
    from openmofi.config.recipes import recipe_dict, recipe_yaml

    typer.echo(json.dumps(recipe_dict(recipe), indent=2, ensure_ascii=False) if as_json else recipe_yaml(recipe),
               nl=as_json)


@contextmanager
def resumable() -> Generator[None]:
    """Ctrl-C inside says how the run goes on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("add --resume to the same command to go on from the last checkpoint") from error
