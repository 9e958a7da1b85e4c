"""Layers of values → settings: the defaults, a YAML file, and `KEY=VALUE` from a command line; later layers win."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from openmofi.config.fields import Settings, converted, field_types, shown
from openmofi.config.yaml_text import parse_yaml
from openmofi.errors import UsageError

S = TypeVar("S", bound=Settings)
_SET = "--set "


def settings_from(base: S, overrides: Sequence[str] = (), values: Any = None, source: str = "") -> S:
    """Return `base` with other values.

    Rules about several fields are checked once all layers are merged.

    Args:
        base: the defaults.
        overrides: `optimizer.lr=3e-4`: a dotted key and YAML. Text need not be quoted, and the values of a list may be
            separated by commas: `k=10,20`. They go before `values`, later ones before earlier ones.
        values: nested mappings, as YAML gives them.
        source: where `values` come from, for messages.

    Raises:
        UsageError: a key is unknown (names the nearest one), a value breaks the constraint of its field, or the values
            contradict each other.
    """
    kind = type(base)
    return replaced(base, section_leaves(kind, values, source, kind) | leaves_of(kind, overrides))


def leaves_of(kind: type[Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Dotted key → value of each `KEY=VALUE`; see `settings_from`.

    Raises:
        UsageError: see there.
    """
    leaves: dict[str, Any] = {}
    for override in overrides:
        leaves |= section_leaves(kind, _nested(kind, override), f"{_SET}{override}", kind)
    return leaves


def section_leaves(kind: type[Any], values: Any, source: str, root: type[Any], path: str = "") -> dict[str, Any]:
    """Dotted key → converted value of all that nested mappings set.

    Args:
        kind: the settings that `values` are of.
        values: `None` sets nothing.
        source: where they come from, for messages.
        root: the outermost settings.
        path: of `kind` in `root`.

    Raises:
        UsageError: a key is unknown (names the nearest one), or a value breaks the constraint of its field.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        what = f"{path} is {shown(values)}; it has settings below it" if path else "not a mapping of keys to values"
        raise UsageError(
            f"{source}: {what}.",
            f"Write one as --set {path}.NAME=VALUE."
            if source.startswith(_SET)
            else "Write `key: value`, settings below a key indented.",
        )
    types, leaves = field_types(kind), dict[str, Any]()
    for key, value in values.items():
        dotted = f"{path}.{key}" if path else str(key)
        if key not in types:
            raise _unknown(dotted, kind, root, path, source)
        if is_dataclass(types[key]):
            leaves |= section_leaves(types[key], value, source, root, dotted)
            continue
        try:
            leaves[dotted] = converted(value, types[key], dotted)
        except UsageError as error:
            raise UsageError(f"{source}: {error.message}", error.hint) from None
    return leaves


def _nested(kind: Any, override: str) -> Any:
    """`a.b=VALUE` → `{"a": {"b": VALUE}}`, with what the type of `a.b` says of how VALUE is written."""
    key, equals, text = (part.strip() for part in override.partition("="))
    names = key.split(".")
    if not equals or "" in names:
        raise UsageError(f"{_SET}{override} is not KEY=VALUE.", "Write it as --set optimizer.lr=3e-4.")
    for name in names:
        kind = field_types(kind).get(name) if is_dataclass(kind) else None
    value = _parsed(kind, text, f"{_SET}{override}")
    for name in reversed(names):
        value = {name: value}
    return value


def _parsed(kind: Any, text: str, source: str) -> Any:
    if get_origin(kind) is Annotated:
        kind = kind.__origin__
    if (kind is str or get_origin(kind) is Literal) and not text.startswith(("'", '"')):
        return text
    if get_origin(kind) is tuple and not text.startswith("["):
        return [_parsed(get_args(kind)[0], part.strip(), source) for part in text.split(",") if part.strip()]
    return parse_yaml(text, source)


def replaced(base: S, leaves: Mapping[str, Any], path: str = "", *, named: bool = True) -> S:
    """`base` with other values of the fields whose dotted keys `leaves` has.

    Args:
        base: stays as it is.
        leaves: dotted key → converted value.
        path: of `base` in the outermost settings, with a dot at its end.
        named: whether a message names the section.

    Raises:
        UsageError: the values contradict each other.
    """
    changes: dict[str, Any] = {}
    for name, kind in field_types(type(base)).items():
        if is_dataclass(kind):
            changes[name] = replaced(getattr(base, name), leaves, f"{path}{name}.", named=named)
        elif f"{path}{name}" in leaves:
            changes[name] = leaves[f"{path}{name}"]
    try:
        return replace(base, **changes)
    except UsageError as error:
        raise UsageError(f"{path[:-1]}: {error.message}" if path and named else error.message, error.hint) from error


def _unknown(dotted: str, kind: type[Any], root: type[Any], path: str, source: str) -> UsageError:
    name, siblings = dotted.rpartition(".")[2], list(field_types(kind))
    everywhere = {key.rpartition(".")[2]: key for key in _all_keys(root, "")}
    near = [f"{path}.{key}" if path else key for key in difflib.get_close_matches(name, siblings, n=1)]
    near = near or [everywhere[key] for key in difflib.get_close_matches(name, everywhere, n=1)]
    guess = f"; did you mean {near[0]}?" if near else "."
    return UsageError(
        f"{source}: unknown setting {dotted}{guess}",
        f"Settings{f' of {path}' if path else ''}: {', '.join(siblings) or 'none'}.",
    )


def _all_keys(kind: type[Any], path: str) -> list[str]:
    """Dotted keys of all settings; the outermost come last, to win where a name is used twice."""
    types = field_types(kind)
    below = [key for name in types if is_dataclass(types[name]) for key in _all_keys(types[name], f"{path}{name}.")]
    return below + [f"{path}{name}" for name in types]
