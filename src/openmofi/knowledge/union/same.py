"""What is the same in several bases: rows `id`, `same_as`, read and followed to the identifier that is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa

from openmofi.config import did_you_mean
from openmofi.errors import OpenMofiError
from openmofi.knowledge.builders.tables import FORMATS, Columns, read_columns, refusal
from openmofi.knowledge.union.read import rows_of

SAME_AS = pa.schema([("id", pa.string()), ("same_as", pa.string())])
"""same_as: the entity that one base knows as `same_as` goes by `id` from now on."""

_COLUMNS = Columns(SAME_AS, {})


def read_same_as(path: str | Path) -> list[tuple[str, str]]:
    """The rows (identifier that is kept, identifier that goes) of a table in any of `FORMATS`.

    Raises:
        OpenMofiError: the file cannot be read or has an empty cell.
    """
    if Path(path).suffix not in FORMATS:
        raise OpenMofiError(
            f"{path} is no table.",
            f"Give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file with the columns 'id' and 'same_as'.",
        )
    read = read_columns(Path(path), _COLUMNS)
    rows = rows_of(read, SAME_AS)
    pairs = list(zip(*(rows.column(name).to_pylist() for name in SAME_AS.names), strict=True))
    empty = [row for row, pair in enumerate(pairs) if not all(pair)]
    problems = list(read.problems)
    if empty:
        problems.append(read.problem(empty, "an identifier is empty", "Fill it or leave the row out."))
    if problems:
        raise refusal(str(path), problems)
    return pairs


def kept_ids(same_as: Iterable[tuple[str, str]], known: pa.Array, where: str = "The table") -> dict[str, str]:
    """Identifier that goes → identifier that is kept, in the end.

    Args:
        same_as: rows as of `read_same_as`.
        known: all identifiers of the bases.
        where: names the table in errors.

    Raises:
        OpenMofiError: an identifier is unknown, goes to two others, or comes back to itself.
    """
    into: dict[str, str] = {}
    there = set(known.to_pylist())
    for kept, gone in same_as:
        for each in (kept, gone):
            if each not in there:
                raise OpenMofiError(
                    f"{where} names {each!r}, which is in none of the bases.{did_you_mean(each, there)}",
                    "Correct the identifier or leave the row out.",
                )
        if into.setdefault(gone, kept) != kept:
            raise OpenMofiError(
                f"{where} says of {gone!r} that it goes by {into[gone]!r} and by {kept!r}.",
                f"Say which is kept: {kept!r} same as {into[gone]!r}, or the other way round.",
            )
    return {gone: _followed(gone, into, where) for gone in into}


def _followed(gone: str, into: Mapping[str, str], where: str) -> str:
    passed = [gone]
    while (following := into.get(passed[-1])) is not None:
        if following in passed:
            circle = " → ".join(map(repr, [*passed[passed.index(following) :], following]))
            raise OpenMofiError(f"{where} goes round in a circle: {circle}.", "Remove one of these rows.")
        passed.append(following)
    return passed[-1]
