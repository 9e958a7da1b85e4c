"""Which classes of items a knowledge base keeps: rules as data (`classes.toml`), subclasses followed."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from openmofi.errors import UsageError
from openmofi.plugins.wikidata.items import item_number


@dataclass(frozen=True)
class ClassRules:
    """Which items stay.

    Attributes:
        kinds: classes, of which an item must be; all where empty.
        drop: classes that go: an item whose classes are all dropped goes.
    """

    kinds: tuple[int, ...]
    drop: tuple[int, ...]


@cache
def known_classes() -> dict[str, dict[str, Any]]:
    """Class id → `why` it is dropped, and whether it is `internal`, as in `classes.toml`."""
    return tomllib.loads(Path(__file__).with_name("classes.toml").read_text("utf-8"))


def class_rules(kinds: Sequence[str] = (), drop: Sequence[str] = (), *, visual_only: bool = False) -> ClassRules:
    """The rules that a caller names, beside those that always hold.

    Args:
        kinds, drop: ids such as `Q5`.
        visual_only: drop what no image shows as itself, too.

    Raises:
        UsageError: an id is none, or a class is both wanted and dropped.
    """
    own = [name for name, rule in known_classes().items() if rule.get("internal") or visual_only]
    wanted, dropped = _numbers(kinds), {*_numbers(own), *_numbers(drop)}
    if both := sorted(wanted & _numbers(drop)):
        raise UsageError(f"Q{both[0]} is both wanted and dropped.", "Name it once.")
    return ClassRules(tuple(sorted(wanted)), tuple(sorted(dropped - wanted)))


def _numbers(ids: Sequence[str]) -> set[int]:
    try:
        return {item_number(each) for each in ids}
    except ValueError as error:
        raise UsageError(f"{error}.", "Classes are named by ids such as Q5 (human).") from error
