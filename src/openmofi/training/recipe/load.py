"""Reads recipes: YAML → `Recipe`, by name or path, with single settings changed from the command line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from openmofi.config.yaml_text import parse_yaml, yaml_text
from openmofi.errors import UsageError
from openmofi.training.recipe.rules import validate
from openmofi.training.recipe.settings import Recipe

_Settings = TypeVar("_Settings")
_SUFFIXES = (".yaml", ".yml")
_SET = "--set "


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, change single settings, and check that it holds together.

    Args:
        name_or_path: a packaged recipe (`mofi_vit_b16`), or a YAML file; anything with a slash or `.yaml` is a file.
        overrides: `optimizer.lr=3e-4`; what stands behind `=` is YAML. Later ones win.

    Returns:
        The recipe; what it does not set has the defaults of `openmofi.training.recipe.settings`. Its name is the
        file's, unless it has one of its own. Paths stay as they are written: they are relative to where the command is
        run.

    Raises:
        UsageError: there is no such recipe; it is no YAML; a key is unknown or twice there; a value has the wrong type;
            or the settings contradict each other (see `recipe_rules.validate`).
        MissingExtraError: PyYAML is not installed.
    """
    source, text = _found(str(name_or_path))
    stem = Path(source).stem if Path(source).suffix in _SUFFIXES else source
    recipe = _merged(Recipe(name=stem), _mapping(parse_yaml(text, source), source), "", source)
    for override in overrides:
        recipe = _overridden(recipe, override)
    validate(recipe)
    return recipe


def recipe_names(folder: str = "recipes") -> dict[str, str]:
    """Packaged recipes by name, with the first line of their comment."""
    place = resources.files("openmofi.training") / folder
    files = sorted((file for file in place.iterdir() if file.name.endswith(_SUFFIXES)), key=lambda file: file.name)
    return {Path(file.name).stem: file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for file in files}


def recipe_dict(recipe: Any) -> dict[str, Any]:
    """Every setting as JSON values, in the order of the dataclasses: for manifests and checkpoints."""
    values: dict[str, Any] = _plain(asdict(recipe))
    return values


def recipe_yaml(recipe: Any) -> str:
    """Every setting as YAML, which `load_recipe` reads back to an equal recipe."""
    return yaml_text(recipe_dict(recipe))


def load_settings(base: _Settings, name_or_path: str | Path, overrides: Sequence[str], folder: str) -> _Settings:
    """Read settings of another kind than `Recipe`, in the way of `load_recipe`, without checking more than their types.

    Args:
        base: the defaults; has a `name`.
        name_or_path: a file of `openmofi.training`'s `folder` by name, or a path.
        overrides: see `load_recipe`.
        folder: where the packaged ones are.

    Raises:
        UsageError: see `load_recipe`.
    """
    source, text = _found(str(name_or_path), folder)
    stem = Path(source).stem if Path(source).suffix in _SUFFIXES else source
    found = _merged(base, {"name": stem}, "", source)
    found = _merged(found, _mapping(parse_yaml(text, source), source), "", source)
    for override in overrides:
        found = _overridden(found, override)
    return found


def _found(name: str, folder: str = "recipes") -> tuple[str, str]:
    """Where the recipe is, and its text."""
    if "/" in name or Path(name).suffix in _SUFFIXES:
        try:
            return name, Path(name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise UsageError(f"There is no recipe file {name}.", _known_recipes(folder)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The recipe {name} cannot be read: {error}.") from error
    packaged = resources.files("openmofi.training") / folder / f"{name}.yaml"
    if not name or not packaged.is_file():
        near = difflib.get_close_matches(name, recipe_names(folder), n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"There is no recipe {name!r}.{guess}", _known_recipes(folder))
    return name, packaged.read_text(encoding="utf-8")


def _known_recipes(folder: str) -> str:
    return f"Give a YAML file, or one of: {', '.join(recipe_names(folder))}."


def _overridden(recipe: _Settings, override: str) -> _Settings:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or "" in key.split("."):
        raise UsageError(f"--set {override} is no setting.", "Write it as --set optimizer.lr=3e-4.")
    source = f"{_SET}{override}"
    value = parse_yaml(text, source)
    for part in reversed(key.split(".")):
        value = {part: value}
    return _merged(recipe, value, "", source)


def _mapping(value: object, source: str, path: str = "") -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        what = f"{path} is {_shown(value)}" if path else "the whole is no mapping of keys to values"
        raise UsageError(f"{source}: {what}.", f"{path or 'A recipe'} has settings below it: "
                         + (f"give one as --set {path}.NAME=VALUE." if source.startswith(_SET) else
                            "write them as `key: value`, indented."))
    return value


def _merged(base: _Settings, values: object, path: str, source: str) -> _Settings:
    """`base` with the settings that `values` has, of any depth."""
    types = get_type_hints(type(base))
    changed: dict[str, Any] = {}
    for key, value in _mapping(values, source, path).items():
        dotted = f"{path}.{key}" if path else str(key)
        if key not in types:
            raise _unknown_key(dotted, list(types), path, source)
        if is_dataclass(types[key]):
            changed[key] = _merged(getattr(base, key), value, dotted, source)
        else:
            changed[key] = _value(value, types[key], dotted, source)
    return replace(base, **changed)  # type: ignore[type-var]


def _value(value: object, wanted: Any, key: str, source: str) -> Any:
    """`value` as the type that the setting has: an integer may stand for a float, nothing else for anything else."""
    if get_origin(wanted) is tuple:
        return _tuple(value, get_args(wanted), key, source)
    number = isinstance(value, int) and not isinstance(value, bool)
    if wanted is float and (number or isinstance(value, float)):
        return float(value)  # type: ignore[arg-type]
    if (wanted is int and number) or (wanted in (bool, str) and isinstance(value, wanted)):
        return value
    raise UsageError(f"{source}: {key} is {_shown(value)}, where {_named(wanted)} is needed.")


def _tuple(value: object, wanted: tuple[Any, ...], key: str, source: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{source}: {key} is {_shown(value)}, where a list is needed.",
                         f"Write it as --set '{key}=[first, second]'." if source.startswith(_SET) else
                         f"Write it as {key}: [first, second].")
    open_ended = wanted[-1] is Ellipsis
    if not open_ended and len(value) != len(wanted):
        raise UsageError(f"{source}: {key} has {len(value)} values, where {len(wanted)} are needed.")
    types = [wanted[0]] * len(value) if open_ended else wanted
    return tuple(_value(one, kind, f"{key}[{place}]", source)
                 for place, (one, kind) in enumerate(zip(value, types, strict=True)))


def _unknown_key(dotted: str, siblings: list[str], path: str, source: str) -> UsageError:
    last = dotted.rpartition(".")[2]
    prefix = f"{path}." if path else ""
    everywhere = {key.rpartition(".")[2]: key for key in _all_keys(Recipe, "")}
    near = [prefix + name for name in difflib.get_close_matches(last, siblings, n=1)]
    near = near or [everywhere[name] for name in difflib.get_close_matches(last, everywhere, n=1)]
    guess = f" Did you mean {near[0]}?" if near else ""
    known = ", ".join(siblings)
    return UsageError(f"{source}: there is no setting {dotted}.{guess}",
                      f"{path or 'A recipe'} has: {known}.")


def _all_keys(settings: Any, path: str) -> list[str]:
    """Dotted names of all settings; those of the outermost come last, to win where a name is used twice."""
    types = get_type_hints(settings)
    below = [key for field in fields(settings) if is_dataclass(types[field.name])
             for key in _all_keys(types[field.name], f"{path}{field.name}.")]
    return below + [f"{path}{field.name}" for field in fields(settings)]


def _shown(value: object) -> str:
    kinds = {type(None): "empty", bool: "a yes/no", int: "a whole number", float: "a number", str: "a text",
             list: "a list", dict: "a mapping"}
    kind = kinds.get(type(value), f"of the type {type(value).__name__}")
    return kind if value is None or isinstance(value, list | dict) else f"{value!r} ({kind})"


def _named(wanted: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[wanted]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
