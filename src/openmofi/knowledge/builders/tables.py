"""Tables that people write: Parquet, CSV, TSV or JSON lines in, Arrow tables of a schema out, with every problem named.

A table of text files has a header (or JSON keys) and commas, semicolons or tabs between its columns; cells are trimmed;
a list is written `a|b`. Columns may stand in any order; of unknown ones it is noted that they are ignored.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.storage.encodings import OTHER, Undecodable, delimiter_of, text_of
from openmofi.storage.table_files import parquet_blocks

TEXT_FILES = (".csv", ".tsv", ".jsonl")
FORMATS = (".parquet", *TEXT_FILES)
SHOWN = 5
"""Most places that a message names beside the first."""
_MAX_CELL = 1 << 24
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Problem:
    """Something that a person has to correct.

    Attributes:
        places: where, as a message names it (`"names.csv, line 3"`); at least one.
        what: what is wrong at the first place; `""` where the place says it.
        hint: what to do.
        more: how many places there are beside these.
    """

    places: tuple[str, ...]
    what: str
    hint: str
    more: int = 0

    @property
    def message(self) -> str:
        """The problem as one sentence."""
        others = [address.rpartition(", ")[2] for address in self.places[1:]]
        count = len(others) + self.more
        some = ", ".join(others[:SHOWN]) + (", …" if count > SHOWN else "")
        more = f" ({count:,} more: {some})" if others else ""
        return f"{': '.join(filter(None, (self.places[0], self.what)))}{more}."


def refusal(source: str, problems: Sequence[Problem]) -> OpenMofiError:
    """The error that names all problems; one alone is a sentence with its hint."""
    if len(problems) == 1:
        return OpenMofiError(problems[0].message, problems[0].hint)
    return OpenMofiError(
        "\n  ".join(
            [f"{source} has {len(problems)} problems:", *(f"{problem.message} {problem.hint}" for problem in problems)]
        )
    )


@dataclass(frozen=True)
class Columns:
    """The columns that a table must and may have.

    Attributes:
        schema: column → type: text, float32, or a list of texts.
        defaults: optional column → what stands in for a missing column or an empty cell.
        named: column → its name in the table, where it has another there; `None` where options name none.
    """

    schema: pa.Schema
    defaults: Mapping[str, Any]
    named: Mapping[str, str] | None = None

    @property
    def required(self) -> list[str]:
        """Columns that a table must have."""
        return [name for name in self.schema.names if name not in self.defaults or name in (self.named or {})]

    def name_of(self, column: str) -> str:
        """Return what a column is called in the table."""
        return (self.named or {}).get(column, column)

    def given_in(self, names: Sequence[str]) -> dict[str, str]:
        """Return column → its name in a table with these names, whatever their case, for those that it has."""
        there = {name.lower(): name for name in reversed(names)}
        keys = {column: self.name_of(column).lower() for column in self.schema.names}
        return {column: there[name] for column, name in keys.items() if name in there}

    def described(self) -> str:
        """All columns with their types, for messages."""
        kinds = {
            column.name: f"{column.name} ({'list' if pa.types.is_list(column.type) else column.type})"
            for column in self.schema
        }
        optional = "; optional: " if self.defaults else ""
        optional += ", ".join(kinds[name] for name in self.defaults)
        required = [name for name in self.schema.names if name not in self.defaults]
        others = "" if self.named is None else " Others are named by --id-column, --name-column …"
        return f"Its columns are {', '.join(kinds[name] for name in required)}{optional}.{others}"


@dataclass(frozen=True)
class ReadTable:
    """A table: a text file, read as a whole, or a Parquet file, whose rows are read a block at a time.

    Attributes:
        name: of its file, for messages.
        blocks: the rows that can be read, as tables of the schema; raises an `OpenMofiError` where a Parquet file
            cannot be read further.
        lines: line of each row in a text file; `None`: rows are counted, from 0.
        given, ignored: columns of the file that the schema has and has not.
        problems: what is wrong with it.
        partial: whether rows cannot be read.
    """

    name: str
    blocks: Callable[[], Iterator[pa.Table]]
    lines: Sequence[int] | None = None
    given: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    partial: bool = False

    def place(self, row: int) -> str:
        """Where a row stands, as messages name it."""
        return f"{self.name}, row {row}" if self.lines is None else f"{self.name}, line {self.lines[row]}"

    def problem(self, rows: Sequence[int], what: str, hint: str, more: int = 0) -> Problem:
        """A problem of some rows, and of `more` that are not named."""
        return Problem(tuple(map(self.place, rows)), what, hint, more)


@dataclass
class _Cells:
    """A text file's cells, column by column; `None` for an empty one."""

    names: list[str] = field(default_factory=list)
    columns: list[list[str | None]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_columns(path: Path, columns: Columns, encoding: str = "") -> ReadTable:
    """Read a table; nothing is raised: its problems are in the outcome. `encoding`: see `encoding_of`."""
    empty = ReadTable(path.name, lambda: iter(()))
    if path.suffix == ".parquet":
        return _read_parquet(path, columns, empty)
    try:
        text = text_of(path, encoding)
    except Undecodable as error:
        location = f"{path.name}, line {error.line}"
        return _with(empty, Problem((location,), f"cannot be read as {error.encoding}", OTHER))
    except OSError as error:
        return _with(empty, _unreadable(path, error.strerror or str(error), columns))
    cells = _json_cells(path.name, text) if path.suffix == ".jsonl" else _csv_cells(path.name, text, path.suffix)
    return _typed(empty, cells, columns)


def blocks_of(table: pa.Table) -> Callable[[], Iterator[pa.Table]]:
    """The blocks of a table in memory, as `ReadTable` has them."""
    return lambda: (table.slice(start, _BLOCK) for start in range(0, len(table), _BLOCK))


def _with(table: ReadTable, *problems: Problem) -> ReadTable:
    return ReadTable(table.name, table.blocks, problems=problems, partial=True)


def _unreadable(path: Path, reason: str, columns: Columns) -> Problem:
    return Problem((f"{path.name} cannot be read",), reason.partition("\n")[0].rstrip("."), columns.described())


def _lacking(path: Path | str, names: Sequence[str], columns: Columns) -> list[Problem]:
    given = columns.given_in(names)
    missing = [columns.name_of(name) for name in columns.required if name not in given]
    if not missing:
        return []
    have = f", only {', '.join(map(repr, names))}" if names else ""
    return [
        Problem(
            (f"{Path(path).name} cannot be read",),
            f"it has no column {' and no column '.join(map(repr, missing))}{have}",
            columns.described(),
        )
    ]


def _read_parquet(path: Path, columns: Columns, empty: ReadTable) -> ReadTable:
    try:
        with open(path, "rb") as handle:
            there = pq.read_schema(handle)
    except FileNotFoundError:
        return _with(empty, Problem((path.name,), "is missing", columns.described()))
    except (OSError, pa.ArrowException) as error:
        return _with(empty, _unreadable(path, str(error), columns))
    if problems := _lacking(path, there.names, columns):
        return _with(empty, *problems)
    given = columns.given_in(there.names)
    # A list may be written as text, as in a CSV.
    listed = {
        name
        for name, own in given.items()
        if pa.types.is_list(columns.schema.field(name).type)
        and (pa.types.is_string(there.field(own).type) or pa.types.is_large_string(there.field(own).type))
    }
    schema = pa.schema(
        [(own, pa.string() if name in listed else columns.schema.field(name).type) for name, own in given.items()]
    )

    def blocks() -> Iterator[pa.Table]:
        for block in parquet_blocks(path, schema, _BLOCK, hint=columns.described()):
            arrays = {name: block.column(own).combine_chunks() for name, own in given.items()}
            arrays |= {name: _lists(arrays[name].to_pylist()) for name in listed}
            yield _filled(arrays, columns, len(block))

    ignored = tuple(name for name in there.names if name not in given.values())
    return ReadTable(path.name, blocks, None, tuple(given), ignored)


def _filled(arrays: Mapping[str, pa.Array], columns: Columns, rows: int) -> pa.Table:
    """The schema's table: defaults where an optional column or a value of it is missing."""
    full = []
    for column in columns.schema:
        array = arrays.get(column.name)
        default = columns.defaults.get(column.name)
        if array is None:
            array = pa.array([default] * rows, column.type)
        elif column.name in columns.defaults and array.null_count:
            array = (
                pa.array([default if value is None else value for value in array.to_pylist()], column.type)
                if pa.types.is_list(column.type)
                else pc.fill_null(array, pa.scalar(default, column.type))
            )
        full.append(array)
    return pa.table(full, schema=columns.schema)


def _csv_cells(name: str, text: str, suffix: str) -> _Cells:
    cells = _Cells()
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))  # of the whole process; others raise it too
    delimiter = delimiter_of(text.lstrip().partition("\n")[0], "\t" if suffix == ".tsv" else ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    uneven: list[tuple[str, int]] = []
    rows: list[list[str]] = []
    line = 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            if not any(map(str.strip, row)):
                continue
            if not cells.names:
                cells.names = [cell.strip() for cell in row]
            elif len(row) != len(cells.names):
                uneven.append((f"{name}, line {start}", len(row)))
            else:
                rows.append(row)
                cells.lines.append(start)
    except csv.Error as error:
        cells.problems.append(
            Problem(
                (f"{name}, line {line}",),
                f"cannot be read from here on: {error}",
                'Text that contains a comma or a quote stands in quotes, and a quote in it is written twice: "".',
            )
        )
    if uneven:
        cells.problems.append(
            Problem(
                tuple(address for address, _ in uneven),
                f"has {uneven[0][1]} values, and the header has {len(cells.names)} columns",
                "Give every row as many values; put text that contains the separator in quotes.",
            )
        )
    cells.columns = (
        [[cell.strip() or None for cell in column] for column in zip(*rows, strict=True)]
        if rows
        else [[] for _ in cells.names]
    )
    return cells


def _json_cells(name: str, text: str) -> _Cells:
    cells = _Cells()
    rows: list[dict[str, str | None]] = []
    bad: list[tuple[str, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows.append({str(key): _json_cell(value) for key, value in row.items()})
            cells.lines.append(number)
        except (ValueError, AttributeError, RecursionError) as error:
            what = "is not a JSON object" if isinstance(error, AttributeError) else str(error).partition("\n")[0]
            bad.append((f"{name}, line {number}", what))
    if bad:
        cells.problems.append(
            Problem(
                tuple(address for address, _ in bad),
                bad[0][1],
                'Write an object of texts, numbers and lists of texts: {"id": "Q1", "name": …}.',
            )
        )
    cells.names = list(dict.fromkeys(key for row in rows for key in row))
    cells.columns = [[row.get(key) for row in rows] for key in cells.names]
    return cells


def _json_cell(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = "|".join(value)
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    raise ValueError(f"{json.dumps(value)[:60]} is no text, number or list of texts")


def _typed(empty: ReadTable, cells: _Cells, columns: Columns) -> ReadTable:
    twice = sorted({name for name in cells.names if cells.names.count(name) > 1})
    lacking = [
        Problem((f"{empty.name}, line 1",), f"the column {name!r} stands twice", "Remove one.") for name in twice
    ]
    if cells.names or not cells.problems:
        lacking += _lacking(empty.name, cells.names, columns)
    if lacking or not cells.names:
        return _with(empty, *cells.problems, *lacking)
    every = dict(zip(cells.names, cells.columns, strict=True))
    given = columns.given_in(cells.names)
    by_name = {name: every[own] for name, own in given.items()}
    arrays: dict[str, pa.Array] = {}
    problems = list(cells.problems)
    for name in given:
        kind = columns.schema.field(name).type
        if pa.types.is_floating(kind):
            arrays[name], bad = _numbers(by_name[name], kind)
            if bad:
                problems.append(
                    Problem(
                        tuple(f"{empty.name}, line {cells.lines[row]}" for row in bad),
                        f"{name!r} is {by_name[name][bad[0]]!r}, which is no number",
                        "Write it as 12 or 0.5.",
                    )
                )
        else:
            arrays[name] = _lists(by_name[name]) if pa.types.is_list(kind) else pa.array(by_name[name], kind)
    return ReadTable(
        empty.name,
        blocks_of(_filled(arrays, columns, len(cells.lines))),
        cells.lines,
        tuple(given),
        tuple(name for name in every if name not in given.values()),
        tuple(problems),
        bool(cells.problems),
    )


def _lists(cells: Sequence[str | None]) -> pa.Array:
    return pa.array(
        [None if cell is None else [part.strip() for part in cell.split("|") if part.strip()] for cell in cells],
        pa.list_(pa.string()),
    )


def _numbers(cells: Sequence[str | None], kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The numbers, and the rows of cells that are none: 1 stands there, which no later check minds."""
    values: list[float | None] = []
    bad = []
    for row, cell in enumerate(cells):
        try:
            values.append(None if cell is None else float(cell))
        except ValueError:
            values.append(1.0)
            bad.append(row)
    return pa.array(values, kind), bad
