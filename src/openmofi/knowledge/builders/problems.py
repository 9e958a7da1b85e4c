"""What is wrong in the rows of a source, so that a row that cannot be used is an error and not a wrong link."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.knowledge.builders.source import ReadSource
from openmofi.knowledge.builders.tables import SHOWN, Problem, ReadTable

_FILL = "Fill it or leave the row out."


class Check(IntEnum):
    """The checks of a table, in the order in which their problems are named."""

    READ = 0
    FILLED = 1
    UNIQUE = 2
    NUMBER = 3
    KNOWN = 4


@dataclass
class _Found:
    read: ReadTable
    what: str
    hint: str
    rows: list[int] = field(default_factory=list)
    count: int = 0


class Findings:
    """The problems of a source, gathered a block of rows at a time: each check of a column has at most one."""

    def __init__(self, source: ReadSource) -> None:
        self.tables = source.tables
        self._problems = [
            (Check.READ, problem)
            for problem in [
                *source.problems,
                *(problem for read in source.tables.values() for problem in read.problems),
            ]
        ]
        self._found: dict[tuple[str, Check, str], _Found] = {}

    def add(self, problem: Problem) -> None:
        """A problem of a whole table."""
        self._problems.append((Check.READ, problem))

    def rows(self, table: str, check: Check, column: str, rows: list[int], what: str, hint: str, more: int = 0) -> None:
        """Rows that fail a check, ascending, and `more` that follow; `what` and `hint` are of the first."""
        found = self._found.setdefault((table, check, column), _Found(self.tables[table], what, hint))
        found.rows += rows[: SHOWN + 1 - len(found.rows)]
        found.count += len(rows) + more

    def sorted(self) -> list[Problem]:
        """All of them by file, then by check."""
        problems = [
            *self._problems,
            *(
                (check, found.read.problem(found.rows, found.what, found.hint, found.count - len(found.rows)))
                for (_, check, _), found in self._found.items()
            ),
        ]
        return [
            problem for _, problem in sorted(problems, key=lambda each: (each[1].places[0].partition(",")[0], each[0]))
        ]


@dataclass(frozen=True)
class Block:
    """Rows of a table with their checks.

    Attributes:
        findings: get what is wrong.
        table: its name.
        start: number of the first row.
        rows: they.
    """

    findings: Findings
    table: str
    start: int
    rows: pa.Table

    def _add(self, check: Check, column: str, mask: Any, what: str, hint: str) -> None:
        rows = np.flatnonzero(np.asarray(mask)) + self.start
        if len(rows):
            self.findings.rows(
                self.table, check, column, rows[: SHOWN + 1].tolist(), what, hint, max(len(rows) - SHOWN - 1, 0)
            )

    def filled(self, *columns: str) -> None:
        """Check that texts are not empty."""
        for column in columns:
            self._add(Check.FILLED, column, blank(self.rows.column(column)), f"{column!r} is empty", _FILL)

    def number(self, column: str, low: float, high: float, *, open_low: bool) -> None:
        """Check that numbers are finite and in their range."""
        missing = np.asarray(self.rows.column(column).is_null())
        self._add(Check.FILLED, column, missing, f"{column!r} is empty", _FILL)
        values = self.rows.column(column).to_numpy()
        bad = ~np.isfinite(values) & ~missing | (values > high) | ((values <= low) if open_low else (values < low))
        allowed = f"{'more than' if open_low else 'at least'} {low:g}"
        allowed += f" and at most {high:g}" if np.isfinite(high) else ""
        self._add(
            Check.NUMBER,
            column,
            bad,
            f"{column!r} is {values[bad.argmax()]:g}" if bad.any() else "",
            f"It must be {allowed}.",
        )


def blank(texts: pa.ChunkedArray) -> NDArray[np.bool_]:
    """(n) whether a text is missing or holds nothing but space."""
    mask: NDArray[np.bool_] = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), True).to_numpy()
    return mask


def numbered(read: ReadTable) -> Iterator[tuple[int, pa.Table]]:
    """The blocks of a table, each with the number of its first row."""
    start = 0
    for rows in read.blocks():
        yield start, rows
        start += len(rows)
