"""`KEY=VALUE` on a command line → a protocol's settings."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from openmofi.errors import UsageError


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing where no name is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def settings_from(kind: type[Any], overrides: Sequence[str], protocol: str) -> Any:
    """A protocol's settings.

    Args:
        kind: a frozen dataclass whose fields are `int`, `float`, `bool`, `str` or tuples of these.
        overrides: `KEY=VALUE`; a tuple's values are separated by commas.

    Raises:
        UsageError: no such setting, or a value of another type; the dataclass may refuse values too.
    """
    types = get_type_hints(kind)
    known = [one.name for one in fields(kind)]
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is no setting.", "Write KEY=VALUE.")
        if key not in known:
            told = f"Its settings are: {', '.join(known)}." if known else "It has no settings."
            raise UsageError(f"The protocol {protocol} has no setting {key!r}.{nearest(key, known)}", told)
        try:
            values[key] = _value(types[key], text)
        except ValueError as error:
            raise UsageError(f"{override!r}: {error}.") from error
    return kind(**values)


def _value(kind: Any, text: str) -> Any:
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return tuple(_value(inner, part) for part in text.strip("[]() ").split(",") if part.strip())
    if kind is str:
        return text
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"this is no {kind.__name__}") from error
    if kind is float and isinstance(found, int) and not isinstance(found, bool):
        return float(found)
    if type(found) is not kind:
        raise ValueError(f"this is no {kind.__name__}")
    if kind is float and not math.isfinite(found):
        raise ValueError("this number is not finite")
    return found
