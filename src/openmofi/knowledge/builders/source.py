"""The tables of a source: which files they are, what columns they have, what is ignored, what is wrong with them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Bools
from openmofi.errors import OpenMofiError, did_you_mean
from openmofi.knowledge.build_settings import TableSettings
from openmofi.knowledge.builders.tables import FORMATS, SHOWN, Columns, Problem, ReadTable, blocks_of, read_columns
from openmofi.schema import ENTITIES, LANGUAGES, NAMES, RELATIONS, SURFACES
from openmofi.storage import file_digest, file_fingerprint

ALIASES = pa.field("aliases", pa.list_(pa.string()))
COLUMNS = {
    "entities": Columns(ENTITIES.append(ALIASES), {"description": "", "types": [], "popularity": 0.0, "aliases": []}),
    "names": Columns(NAMES, {"count": 1.0}),
    "relations": Columns(RELATIONS, {"relation": "related"}),
    "surfaces": Columns(SURFACES, {}),
    "languages": Columns(LANGUAGES, {}),
}
"""The tables of a source, each a file of this name with one of `FORMATS`; only `entities` is needed."""


@dataclass(frozen=True)
class SourceTables:
    """The tables of a source in memory, schemas as in `openmofi.schema`.

    Attributes:
        entities: `ENTITIES`; the row is the entity's number in the built knowledge base.
        names: `NAMES`.
        relations: `RELATIONS`, may be empty.
        surfaces: `SURFACES`, may be empty.
        languages: `LANGUAGES`, may be empty.
    """

    entities: pa.Table
    names: pa.Table
    relations: pa.Table
    surfaces: pa.Table
    languages: pa.Table = field(default_factory=LANGUAGES.empty_table)


@dataclass(frozen=True)
class ReadSource:
    """The tables of a folder, as far as they can be read.

    Attributes:
        path: the folder, or the file with the entities.
        tables: name of a table → what was read; optional tables may be missing.
        problems: of the folder: a table that is missing or stands there twice.
        ignored: names of the folder's tables that are none of a source.
    """

    path: Path
    tables: Mapping[str, ReadTable]
    problems: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What is ignored, a sentence each."""
        notes = [
            f"{self.path / name} is ignored: tables are {', '.join(COLUMNS)}.{did_you_mean(Path(name).stem, COLUMNS)}"
            for name in self.ignored
        ]
        for name, read in self.tables.items():
            absent = [column for column in COLUMNS[name].schema.names if column not in read.given]
            notes += [
                f"{read.name}: the column {column!r} is ignored.{did_you_mean(column, absent)}"
                for column in read.ignored
            ]
        return notes


def source_files(source: str | Path) -> tuple[Path, dict[str, list[Path]]]:
    """The folder of a source and its files by table: `source` itself, its `kb/` (a sample world), or one file alone.

    Raises:
        OpenMofiError: there are no entities.
    """
    path = Path(source)
    if path.is_file() and path.suffix in FORMATS:
        return path, {"entities": [path]}
    for folder in (path, path / "kb"):
        files = {
            name: [file for suffix in FORMATS if (file := folder / f"{name}{suffix}").is_file()] for name in COLUMNS
        }
        if files["entities"]:
            return folder, {name: there for name, there in files.items() if there}
    raise OpenMofiError(
        f"{source} has no entities.parquet and no entities.csv, .tsv or .jsonl.",
        f"Give the folder with the entities and optionally {', '.join([*COLUMNS][1:])}, or one file with entities.",
    )


def source_fingerprints(files: Mapping[str, list[Path]]) -> dict[str, str]:
    """Name of a file → its fingerprint; text is read whole, since it has no statistics that change with it."""
    return {
        path.name: file_fingerprint(path) if path.suffix == ".parquet" else file_digest(path)
        for paths in files.values()
        for path in paths
    }


def read_source(source: str | Path, settings: TableSettings = TableSettings()) -> ReadSource:
    """Read the tables of a source; what is wrong with them is in the outcome.

    Args:
        source: see `source_files`.
        settings: the names of columns are those of the entities.

    Raises:
        OpenMofiError: see `source_files`.
    """
    path, files = source_files(source)
    problems = [
        Problem((str(path),), f"has both {' and '.join(file.name for file in there)}", "Keep one of them.")
        for there in files.values()
        if len(there) > 1
    ]
    columns = COLUMNS | {"entities": replace(COLUMNS["entities"], named=settings.columns)}
    tables = {name: read_columns(there[0], columns[name], settings.encoding) for name, there in files.items()}
    used = {file.name for there in files.values() for file in there}
    others = (
        []
        if path.is_file()
        else sorted(file.name for file in path.iterdir() if file.suffix in FORMATS and file.name not in used)
    )
    return ReadSource(path, tables, tuple(problems), tuple(others))


def source_of(tables: SourceTables, path: Path) -> ReadSource:
    """Make a source of tables of another origin, to be checked."""
    read = {
        "entities": tables.entities.append_column(ALIASES, pa.array([[]] * len(tables.entities), ALIASES.type)),
        "names": tables.names,
        "relations": tables.relations,
        "surfaces": tables.surfaces,
    }
    return ReadSource(
        path, {name: ReadTable(name, blocks_of(table), given=tuple(table.column_names)) for name, table in read.items()}
    )


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
        """Add a problem of a whole table."""
        self._problems.append((Check.READ, problem))

    def rows(self, table: str, check: Check, column: str, rows: list[int], what: str, hint: str, more: int = 0) -> None:
        """Add rows that fail a check, ascending, and `more` that follow; `what` and `hint` are of the first."""
        finding = self._found.setdefault((table, check, column), _Found(self.tables[table], what, hint))
        finding.rows += rows[: SHOWN + 1 - len(finding.rows)]
        finding.count += len(rows) + more

    def sorted(self) -> list[Problem]:
        """Return all problems by file, then by check."""
        problems = [
            *self._problems,
            *(
                (check, each.read.problem(each.rows, each.what, each.hint, each.count - len(each.rows)))
                for (_, check, _), each in self._found.items()
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


def blank(texts: pa.ChunkedArray) -> Bools:
    """(n) whether a text is missing or holds nothing but space."""
    return pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), True).to_numpy()


def numbered(read: ReadTable) -> Iterator[tuple[int, pa.Table]]:
    """The blocks of a table, each with the number of its first row."""
    start = 0
    for rows in read.blocks():
        yield start, rows
        start += len(rows)
