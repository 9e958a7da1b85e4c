"""The tables of a source: which files they are, what columns they have, what is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from openmofi.config import did_you_mean
from openmofi.errors import OpenMofiError
from openmofi.knowledge.builders.tables import FORMATS, Columns, Problem, ReadTable, blocks_of, read_columns
from openmofi.schema import ENTITIES, LANGUAGES, NAMES, RELATIONS, SURFACES
from openmofi.storage import file_fingerprint
from openmofi.storage.fingerprints.digests import file_digest

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


def read_source(source: str | Path) -> ReadSource:
    """Read the tables of a source; what is wrong with them is in the outcome.

    Raises:
        OpenMofiError: see `source_files`.
    """
    path, files = source_files(source)
    problems = [
        Problem((str(path),), f"has both {' and '.join(file.name for file in there)}", "Keep one of them.")
        for there in files.values()
        if len(there) > 1
    ]
    tables = {name: read_columns(there[0], COLUMNS[name]) for name, there in files.items()}
    used = {file.name for there in files.values() for file in there}
    others = (
        []
        if path.is_file()
        else sorted(file.name for file in path.iterdir() if file.suffix in FORMATS and file.name not in used)
    )
    return ReadSource(path, tables, tuple(problems), tuple(others))


def source_of(tables: SourceTables, path: Path) -> ReadSource:
    """The source that tables of another origin are, to be checked."""
    read = {
        "entities": tables.entities.append_column(ALIASES, pa.array([[]] * len(tables.entities), ALIASES.type)),
        "names": tables.names,
        "relations": tables.relations,
        "surfaces": tables.surfaces,
    }
    return ReadSource(
        path, {name: ReadTable(name, blocks_of(table), given=tuple(table.column_names)) for name, table in read.items()}
    )
