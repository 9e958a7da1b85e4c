"""Reads JSON as a type that says what it holds: a dataclass, a msgspec struct, a `dict[str, int]` …

msgspec (https://jcristharif.com/msgspec) checks the values. Python's own parser reads the text: msgspec's refuses lone
surrogates, which names of files may hold, and NaN.
"""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import read_text

T = TypeVar("T")


def read_json(path: str | Path, kind: type[T], hint: str, *, missing: T | OpenMofiError | None = None) -> T:
    """Read a JSON file as a `kind`.

    Args:
        path: local path or address.
        kind: what the file holds. A dataclass refuses unknown keys; its missing keys take their defaults.
        hint: what to do where it cannot be read.
        missing: what to return, or to raise, where there is no such file.

    Raises:
        OpenMofiError: it cannot be read, is no JSON, or holds something else; says what and where.
    """
    try:
        text = read_text(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(missing, OpenMofiError):
            raise missing from error
        if missing is not None:
            return missing
        raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", hint) from error
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.", hint) from error
    return parse_json(text, kind, str(path), hint)


def parse_json(text: str | bytes, kind: type[T], where: str, hint: str) -> T:
    """Parse JSON text as a `kind`; see `read_json`.

    Args:
        text: UTF-8 where it is bytes.
        kind, hint: see `read_json`.
        where: names the text in the error.

    Raises:
        OpenMofiError: it is no JSON, or holds something else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OpenMofiError(f"{where} cannot be read: {error}.", hint) from error
    return as_type(value, kind, where, hint)


def as_type(value: Any, kind: type[T], where: str, hint: str) -> T:
    """Check values as `json.loads` returns them, and convert them to a `kind`; see `read_json`.

    Raises:
        OpenMofiError: they are of another type; names `where`.
    """
    try:
        made = msgspec.convert(value, kind, str_keys=True)
        if unknown := _unknown_key(value, made):
            raise ValueError(f"it has the unknown key {unknown!r}")
        return made
    except (ValueError, RecursionError) as error:
        raise OpenMofiError(f"{where} cannot be read: {error}.", hint) from error


def _unknown_key(value: Any, made: Any) -> str:
    """Return a key, also a nested one, of `value` that the dataclass it became lacks; empty without any."""
    if not (is_dataclass(made) and isinstance(value, dict)):
        return ""
    if unknown := value.keys() - {each.name for each in fields(made)}:
        return str(min(unknown))
    return next(filter(None, (_unknown_key(inner, getattr(made, name)) for name, inner in value.items())), "")
