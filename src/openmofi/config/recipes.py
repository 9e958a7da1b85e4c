"""Recipes: settings in a YAML file, named by its path or, where it is packaged, by its name."""

import json
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from openmofi.config.layers import S, settings_from
from openmofi.config.yaml_text import parse_yaml, yaml_text
from openmofi.errors import UsageError, did_you_mean

_SUFFIXES = (".yaml", ".yml")


def read_recipe(base: S, name_or_path: str | Path, overrides: Sequence[str], folder: Traversable) -> S:
    """Read a recipe and change single settings.

    Args:
        base: the defaults, with a field `name`; the recipe is named after its file unless it has a name of its own.
        name_or_path: a packaged recipe (`mofi_vit_b16`), or a YAML file; anything with a slash or `.yaml` is a file.
        overrides: see `settings_from`.
        folder: of the packaged recipes.

    Raises:
        UsageError: the recipe does not exist, is not YAML, or see `settings_from`.
    """
    name = str(name_or_path)
    is_file = "/" in name or Path(name).suffix in _SUFFIXES
    file: Traversable = Path(name) if is_file else folder / f"{name}.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        recipes = recipe_names(folder)
        raise UsageError(
            f"The recipe {name!r} does not exist.{'' if is_file else did_you_mean(name, recipes)}",
            f"Give a YAML file, or one of: {', '.join(recipes)}.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe {name} cannot be read: {error}.") from error
    named = settings_from(base, values={"name": Path(name).stem if Path(name).suffix in _SUFFIXES else name})
    return settings_from(named, overrides, parse_yaml(text, name), name)


def read_values(path: Path) -> dict[str, Any]:
    """The settings that a YAML file of a user holds, for `openmofi.config.changed`.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The settings {path} cannot be read: {error}.") from error
    if not isinstance(values, dict | None):
        raise UsageError(f"{path} is not a mapping of settings to values.", "Write `key: value`, one a line.")
    return {str(key): value for key, value in (values or {}).items()}


def recipe_names(folder: Traversable) -> dict[str, str]:
    """The recipes of a folder by name, each with the first line of its comment."""
    files = sorted((file for file in folder.iterdir() if file.name.endswith(_SUFFIXES)), key=lambda file: file.name)
    return {Path(file.name).stem: file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for file in files}


def recipe_dict(recipe: Any) -> dict[str, Any]:
    """Every setting as JSON values, in the order of the dataclasses: for manifests and checkpoints."""
    return json.loads(json.dumps(recipe.as_dict()))


def recipe_yaml(recipe: Any) -> str:
    """Every setting as YAML, which `read_recipe` reads back to an equal recipe."""
    return yaml_text(recipe_dict(recipe))
