"""The tables of a source, checked, so that a row that cannot be used is an error and not a wrong link."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.errors import OpenMofiError
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import read_parquet

ENTITIES_FILE, NAMES_FILE = "entities.parquet", "names.parquet"
RELATIONS_FILE, SURFACES_FILE = "relations.parquet", "surfaces.parquet"
TABLES = {ENTITIES_FILE: ENTITIES, NAMES_FILE: NAMES, RELATIONS_FILE: RELATIONS, SURFACES_FILE: SURFACES}


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


def _first(mask: pa.ChunkedArray | pa.Array) -> int | None:
    """Row of the first true value."""
    row = pc.index(mask, pa.scalar(True)).as_py()
    return None if row < 0 else row


def _refuse(name: str, row: int, what: str, hint: str) -> OpenMofiError:
    return OpenMofiError(f"{name}, row {row}: {what}.", hint)


def _check_filled(name: str, table: pa.Table, columns: tuple[str, ...]) -> None:
    for column in columns:
        values = table.column(column)
        empty = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0), True)
        row = _first(empty)
        if row is not None:
            raise _refuse(name, row, f"{column!r} is empty", "Fill it or leave the row out.")


def _check_number(name: str, table: pa.Table, column: str, low: float, high: float, open_low: bool) -> None:
    values = table.column(column).to_numpy()
    bad = ~np.isfinite(values) | (values > high) | ((values <= low) if open_low else (values < low))
    if bad.any():
        row = int(bad.argmax())
        allowed = f"{'more than' if open_low else 'at least'} {low:g}"
        allowed += f" and at most {high:g}" if np.isfinite(high) else ""
        raise _refuse(name, row, f"{column!r} is {values[row]:g}", f"It must be {allowed}.")


def _check_known(name: str, table: pa.Table, column: str, ids: pa.ChunkedArray) -> None:
    unknown = pc.is_null(pc.index_in(table.column(column), value_set=ids.combine_chunks()))
    row = _first(unknown)
    if row is not None:
        value = table.column(column)[row].as_py()
        raise _refuse(name, row, f"the entity {value!r} is not in {ENTITIES_FILE}",
                      f"Add it to {ENTITIES_FILE} or leave the row out.")


def _check_unique(entities: pa.Table) -> None:
    ids = entities.column("id").combine_chunks()
    encoded = ids.dictionary_encode()
    codes = encoded.indices.to_numpy()
    if len(encoded.dictionary) == len(codes):
        return
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    row = int((first[inverse] != np.arange(len(codes))).argmax())
    raise _refuse(ENTITIES_FILE, row, f"the id {ids[row].as_py()!r} is already in row {int(first[inverse][row])}",
                  "Give every entity one row.")


def check_source(source: SourceTables) -> SourceTables:
    """Check what the schemas cannot say; returns the source with nulls of optional columns filled.

    Raises:
        OpenMofiError: names the first row (counted from 0) that is empty, duplicate, unknown or out of range.
    """
    entities = source.entities
    if not len(entities):
        raise OpenMofiError(f"{ENTITIES_FILE} has no rows.", "A knowledge base needs at least one entity.")
    if not len(source.names):
        raise OpenMofiError(f"{NAMES_FILE} has no rows.", "Give every entity at least one name.")
    _check_filled(ENTITIES_FILE, entities, ("id", "name"))
    _check_unique(entities)
    description = pc.fill_null(entities.column("description"), "")
    popularity = pc.fill_null(entities.column("popularity"), 0.0)
    types = entities.column("types").combine_chunks()
    if types.null_count:
        types = pa.array([row or [] for row in types.to_pylist()], ENTITIES.field("types").type)
    entities = pa.table([entities.column("id"), entities.column("name"), description, types, popularity],
                        schema=ENTITIES).combine_chunks()
    _check_number(ENTITIES_FILE, entities, "popularity", 0.0, np.inf, open_low=False)
    ids = entities.column("id")
    _check_filled(NAMES_FILE, source.names, ("name", "entity"))
    _check_number(NAMES_FILE, source.names, "count", 0.0, np.inf, open_low=True)
    _check_known(NAMES_FILE, source.names, "entity", ids)
    _check_filled(RELATIONS_FILE, source.relations, ("head", "relation", "tail"))
    for end in ("head", "tail"):
        _check_known(RELATIONS_FILE, source.relations, end, ids)
    _check_filled(SURFACES_FILE, source.surfaces, ("name",))
    _check_number(SURFACES_FILE, source.surfaces, "link_probability", 0.0, 1.0, open_low=False)
    return SourceTables(entities, source.names, source.relations, source.surfaces)


def source_folder(folder: str | Path) -> Path:
    """The folder with the tables: `folder` itself, or its `kb/` (a sample world).

    Raises:
        OpenMofiError: neither contains `entities.parquet`.
    """
    for path in (Path(folder), Path(folder) / "kb"):
        if (path / ENTITIES_FILE).is_file():
            return path
    raise OpenMofiError(f"{folder} has no {ENTITIES_FILE}.",
                        f"Give the folder with {ENTITIES_FILE}, {NAMES_FILE} and optionally {RELATIONS_FILE}, "
                        f"{SURFACES_FILE}.")


def read_folder(folder: Path) -> SourceTables:
    """Read and check the tables of a folder; optional ones may be missing.

    Raises:
        OpenMofiError: a table is missing, damaged, or has a bad row.
    """
    return check_source(SourceTables(*(
        read_parquet(folder / name, schema, hint=f"Its columns are {_columns(schema)}.")
        if name in (ENTITIES_FILE, NAMES_FILE) or (folder / name).is_file() else schema.empty_table()
        for name, schema in TABLES.items())))


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} ({column.type})" for column in schema)
