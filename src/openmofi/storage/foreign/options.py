"""The options that files of others may pass to a library; the table is `options.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError


def allowed_options(section: str, options: Any, where: str) -> dict[str, Any]:
    """The options of a file that may reach a library; those that the table ignores are left out.

    Args:
        section: of `options.toml`.
        options: what the file says.
        where: the file, and the part of it that holds the options.

    Raises:
        OpenMofiError: an option is not in the table, or these are no options at all; names file and option.
    """
    if not isinstance(options, Mapping):
        raise OpenMofiError(f"{where} holds no options, but {str(options)[:80]!r}.", "Copy the file again.")
    passed, ignored = table()[section]
    unknown = next((str(name) for name in options if name not in passed and name not in ignored), None)
    if unknown is not None:
        raise OpenMofiError(
            f"{where} sets {unknown[:80]!r}, which no file of others may set.",
            "Take the option out, if the model does without it; its code or its files are never run "
            "or fetched because a file says so.",
        )
    return {name: value for name, value in options.items() if name in passed}


@cache
def table() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """`options.toml`: of each section the options that are passed, and those that are ignored."""
    text = Path(__file__).with_name("options.toml").read_text("utf-8")
    return {
        name: (frozenset(entry["passed"]), frozenset(entry.get("ignored", ())))
        for name, entry in tomllib.loads(text).items()
    }
