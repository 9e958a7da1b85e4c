"""Freeze rules: patterns of parameter names that are not trained."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from openmofi.errors import UsageError


def freeze(tower: nn.Module, patterns: Sequence[str], setting: str) -> None:
    """Freeze the parameters of `tower` whose names match one of the patterns (fnmatch: `trunk.blocks.[0-5].*`).

    Args:
        tower: its parameters are named `trunk.…`, as the library names them, and `head.…`.
        patterns: see above.
        setting: where they are from, for the error.

    Raises:
        UsageError: a pattern matches no parameter.
    """
    parameters = dict(tower.named_parameters())
    for pattern in patterns:
        matches = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matches:
            raise UsageError(f"{setting}: {pattern!r} matches no parameter.", _hint(pattern, list(parameters)))
        for name in matches:
            parameters[name].requires_grad_(False)


def _hint(pattern: str, names: list[str]) -> str:
    if any(fnmatchcase(name, f"trunk.{pattern}") for name in names):
        return f"Did you mean 'trunk.{pattern}'?"
    near = difflib.get_close_matches(re.sub(r"[*?\[\]]", "", pattern), names, n=3, cutoff=0.0)
    return f"The nearest names are {', '.join(near)}." if near else "The tower has no parameters."
