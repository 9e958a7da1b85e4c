"""The phrases around the names in the alt-texts. None names an entity that the artwork shows (a test)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Phrases:
    """Of a language.

    Attributes:
        wraps: texts with `{}` for the names.
        joins: what stands between two names.
        nothing: texts that name no entity.
    """

    wraps: Sequence[str]
    joins: Sequence[str]
    nothing: Sequence[str] = ()


_DATA = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text("utf-8"))
ENGLISH = Phrases(**_DATA["english"])
FOREIGN: Mapping[str, Phrases] = {language: Phrases(**table) for language, table in _DATA["foreign"].items()}
PLAIN = Phrases(**_DATA["plain"])
"""For languages without phrases of their own."""
BOILERPLATE: Sequence[str] = _DATA["boilerplate"]
WATERMARKS: Sequence[str] = _DATA["watermarks"]
