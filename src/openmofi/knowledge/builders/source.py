"""The tables of a source, checked, so that a row that cannot be used is an error and not a wrong link."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.config import did_you_mean
from openmofi.errors import OpenMofiError
from openmofi.knowledge.builders.tables import FORMATS, Columns, Problem, ReadTable, read_columns, refusal
from openmofi.knowledge.names import normalise
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import file_fingerprint
from openmofi.storage.digests import file_digest

_log = logging.getLogger(__name__)

ALIASES = pa.field("aliases", pa.list_(pa.string()))
COLUMNS = {
    "entities": Columns(ENTITIES.append(ALIASES), {"description": "", "types": [], "popularity": 0.0, "aliases": []}),
    "names": Columns(NAMES, {"count": 1.0}),
    "relations": Columns(RELATIONS, {"relation": "related"}),
    "surfaces": Columns(SURFACES, {}),
}
"""The tables of a source, each a file of this name with one of `FORMATS`; only `entities` is needed."""

_FILL = "Fill it or leave the row out."


@dataclass(frozen=True)
class SourceTables:
    """The tables of a source, checked: schemas as in `openmofi.schema`, every identifier known, no nulls.

    Attributes:
        entities: `ENTITIES`; the row is the entity's number in the built knowledge base.
        names: `NAMES`; counts are positive.
        relations: `RELATIONS`, may be empty.
        surfaces: `SURFACES`, may be empty.
    """

    entities: pa.Table
    names: pa.Table
    relations: pa.Table
    surfaces: pa.Table


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

    def table(self, name: str) -> pa.Table:
        """What was read of a table; no rows where it is missing."""
        return self.tables[name].table if name in self.tables else COLUMNS[name].schema.empty_table()

    def notes(self) -> list[str]:
        """What is ignored, a sentence each."""
        notes = [f"{self.path / name} is ignored: tables are {', '.join(COLUMNS)}."
                 f"{did_you_mean(Path(name).stem, COLUMNS)}" for name in self.ignored]
        for name, read in self.tables.items():
            absent = [column for column in COLUMNS[name].schema.names if column not in read.given]
            notes += [f"{read.name}: the column {column!r} is ignored.{did_you_mean(column, absent)}"
                      for column in read.ignored]
        return notes


@dataclass(frozen=True)
class _Rows:
    """A table's checks, each giving at most one problem that names all rows."""

    read: ReadTable

    def problems(self, mask: Any, what: str, hint: str) -> Iterator[Problem]:
        rows = np.flatnonzero(np.asarray(mask)).tolist()
        if rows:
            yield self.read.problem(rows, what, hint)

    def column(self, name: str) -> pa.ChunkedArray:
        return self.read.table.column(name)

    def filled(self, *columns: str) -> Iterator[Problem]:
        for column in columns:
            length = pc.utf8_length(pc.utf8_trim_whitespace(self.column(column)))
            yield from self.problems(pc.fill_null(pc.equal(length, 0), True), f"{column!r} is empty", _FILL)

    def number(self, column: str, low: float, high: float, open_low: bool) -> Iterator[Problem]:
        missing = np.asarray(self.column(column).is_null())
        yield from self.problems(missing, f"{column!r} is empty", _FILL)
        values = self.column(column).to_numpy()
        bad = ~np.isfinite(values) & ~missing | (values > high) | ((values <= low) if open_low else (values < low))
        if bad.any():
            allowed = f"{'more than' if open_low else 'at least'} {low:g}"
            allowed += f" and at most {high:g}" if np.isfinite(high) else ""
            yield from self.problems(bad, f"{column!r} is {values[bad.argmax()]:g}", f"It must be {allowed}.")

    def known(self, column: str, entities: ReadTable) -> Iterator[Problem]:
        values = self.column(column)
        unknown = np.asarray(pc.is_null(pc.index_in(values, value_set=entities.table.column("id").combine_chunks())))
        # Empty ones are named as such.
        unknown = unknown & np.asarray(pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(values), ""), False))
        if unknown.any():
            value = values[int(unknown.argmax())].as_py()
            yield from self.problems(unknown, f"the entity {value!r} is not in {entities.name}",
                                     f"Add it to {entities.name} or leave the row out.")

    def unique(self, column: str) -> Iterator[Problem]:
        codes = self.column(column).combine_chunks().dictionary_encode().indices
        codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        again = (first[inverse] != np.arange(len(codes))) & (codes >= 0)
        if again.any():
            row = int(again.argmax())
            place = self.read.place(int(first[inverse][row])).removeprefix(f"{self.read.name}, ")
            yield from self.problems(
                again, f"the {column} {self.column(column)[row].as_py()!r} is already in {place}",
                "Give every entity one row.")


def source_problems(source: ReadSource) -> list[Problem]:
    """All that is wrong with a source, by file: the folder, what cannot be read, then what is wrong in the rows."""
    problems = [*source.problems, *(problem for read in source.tables.values() for problem in read.problems)]
    rows = {name: _Rows(read) for name, read in source.tables.items()}
    for name, message in (("entities", "A knowledge base needs at least one entity."),
                          ("names", "Give names, or remove the file: entities are known by their own names.")):
        if name in rows and not rows[name].read.problems and not len(rows[name].read.table):
            problems.append(Problem((f"{rows[name].read.name} has no rows",), "", message))
    if entities := rows.get("entities"):
        problems += [*entities.filled("id", "name"), *entities.unique("id"),
                     *entities.number("popularity", 0.0, np.inf, open_low=False)]
    if names := rows.get("names"):
        problems += [*names.filled("name", "entity"), *names.number("count", 0.0, np.inf, open_low=True)]
    if relations := rows.get("relations"):
        problems += relations.filled("head", "relation", "tail")
    if surfaces := rows.get("surfaces"):
        problems += [*surfaces.filled("name"), *surfaces.number("link_probability", 0.0, 1.0, open_low=False)]
    if entities and not entities.read.partial:
        for name, column in (("names", "entity"), ("relations", "head"), ("relations", "tail")):
            if name in rows:
                problems += rows[name].known(column, entities.read)
    return sorted(problems, key=lambda problem: problem.places[0].partition(",")[0])


def checked(source: ReadSource) -> SourceTables:
    """The tables of a source without problems, entities' own names and aliases among its names.

    Raises:
        OpenMofiError: names every problem, with file and row (from 0) or line.
    """
    if problems := source_problems(source):
        raise refusal(str(source.path), problems)
    entities = source.table("entities")
    if entities.column("types").combine_chunks().flatten().null_count:
        whole = [[part for part in row if part is not None] for row in entities.column("types").to_pylist()]
        entities = entities.set_column(entities.schema.get_field_index("types"), "types",
                                       pa.array(whole, ENTITIES.field("types").type))
    own = entities.select(ENTITIES.names).cast(ENTITIES).combine_chunks()
    names = with_own_names(source.table("names"), entities)
    return SourceTables(own, names, source.table("relations"), source.table("surfaces"))


def with_own_names(names: pa.Table, entities: pa.Table) -> pa.Table:
    """The names, and behind them each entity's own name and aliases, with the count 1, where they are not there yet.

    Args:
        names: `NAMES`.
        entities: `id`, `name` and `aliases`.
    """
    aliases = entities.column("aliases").combine_chunks()
    ids, own = entities.column("id").combine_chunks(), entities.column("name").combine_chunks()
    pairs = pa.table([pa.concat_arrays([own, aliases.flatten()]),
                      pa.concat_arrays([ids, ids.take(pc.list_parent_indices(aliases))])], names=["name", "entity"])
    there = pc.is_in(_joined(pairs), value_set=_joined(names).combine_chunks())
    pairs = pairs.filter(pc.and_not(pc.is_valid(pairs.column("name")), there))
    # Other spellings of one key are the same name.
    spelt = names.filter(pc.is_in(names.column("entity"), value_set=pairs.column("entity").combine_chunks()))
    known = {(normalise(name), entity) for name, entity in zip(
        spelt.column("name").to_pylist(), spelt.column("entity").to_pylist(), strict=True)}
    added = []
    for name, entity in zip(pairs.column("name").to_pylist(), pairs.column("entity").to_pylist(), strict=True):
        key = normalise(name)
        if key and (key, entity) not in known:
            known.add((key, entity))
            added.append({"name": name, "entity": entity, "count": 1.0})
    return pa.concat_tables([names, pa.Table.from_pylist(added, NAMES)]) if added else names


def _joined(pairs: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(pairs.column("entity"), pairs.column("name"), "\x1f")


def source_files(source: str | Path) -> tuple[Path, dict[str, list[Path]]]:
    """The folder of a source and its files by table: `source` itself, its `kb/` (a sample world), or one file alone.

    Raises:
        OpenMofiError: there are no entities.
    """
    path = Path(source)
    if path.is_file() and path.suffix in FORMATS:
        return path, {"entities": [path]}
    for folder in (path, path / "kb"):
        files = {name: [file for suffix in FORMATS if (file := folder / f"{name}{suffix}").is_file()]
                 for name in COLUMNS}
        if files["entities"]:
            return folder, {name: there for name, there in files.items() if there}
    raise OpenMofiError(f"{source} has no entities.parquet and no entities.csv, .tsv or .jsonl.",
                        f"Give the folder with the entities and optionally {', '.join([*COLUMNS][1:])}, or one file "
                        "with entities.")


def source_fingerprints(files: Mapping[str, list[Path]]) -> dict[str, str]:
    """Name of a file → its fingerprint; text is read whole, since it has no statistics that change with it."""
    return {path.name: file_fingerprint(path) if path.suffix == ".parquet" else file_digest(path)
            for paths in files.values() for path in paths}


def read_source(source: str | Path) -> ReadSource:
    """Read the tables of a source; what is wrong with them is in the outcome.

    Raises:
        OpenMofiError: see `source_files`.
    """
    path, files = source_files(source)
    problems = [Problem((str(path),), f"has both {' and '.join(file.name for file in there)}", "Keep one of them.")
                for there in files.values() if len(there) > 1]
    tables = {name: read_columns(there[0], COLUMNS[name]) for name, there in files.items()}
    used = {file.name for there in files.values() for file in there}
    others = [] if path.is_file() else sorted(
        file.name for file in path.iterdir() if file.suffix in FORMATS and file.name not in used)
    return ReadSource(path, tables, tuple(problems), tuple(others))


def read_tables(source: str | Path) -> SourceTables:
    """Read and check the tables of a source; what is ignored is logged as a warning.

    Raises:
        OpenMofiError: a table is missing, damaged, or has bad rows; names every problem.
    """
    read = read_source(source)
    for note in read.notes():
        _log.warning("%s", note)
    return checked(read)


def source_of(tables: SourceTables, path: Path) -> ReadSource:
    """The source that tables of another origin are, to be checked."""
    read = {"entities": tables.entities.append_column(ALIASES, pa.array([[]] * len(tables.entities), ALIASES.type)),
            "names": tables.names, "relations": tables.relations, "surfaces": tables.surfaces}
    return ReadSource(path, {name: ReadTable(name, table, given=tuple(table.column_names))
                             for name, table in read.items()})
