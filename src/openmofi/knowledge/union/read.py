"""The tables of a source, whole and checked, as a union joins them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.knowledge.builders.check import check_table
from openmofi.knowledge.builders.source import COLUMNS, SourceTables, read_source
from openmofi.knowledge.builders.tables import ReadTable
from openmofi.knowledge.names import normalise
from openmofi.schema import ENTITIES, NAMES


def read_whole(source: str | Path) -> SourceTables:
    """The tables of a source as of `build_table`, entities' own names and aliases among its names.

    Raises:
        OpenMofiError: a table cannot be used; every problem is named.
    """
    if problems := check_table(source)["problems"]:
        raise OpenMofiError(
            problems[0] if len(problems) == 1 else "\n  ".join([f"{source} has {len(problems)} problems:", *problems])
        )
    read = read_source(source).tables
    tables = {
        name: rows_of(read[name], columns.schema) if name in read else columns.schema.empty_table()
        for name, columns in COLUMNS.items()
    }
    rows = tables["entities"].to_pylist()
    entities = pa.Table.from_pylist(
        [{**row, "types": [kind for kind in row["types"] if kind]} for row in rows], ENTITIES
    )
    names = tables["names"]
    known = set(zip(map(normalise, names.column("name").to_pylist()), names.column("entity").to_pylist(), strict=True))
    own = {
        (key, row["id"]): name
        for row in reversed(rows)
        for name in reversed((row["name"], *row["aliases"]))
        if name and (key := normalise(name)) and (key, row["id"]) not in known
    }
    added = [{"name": name, "entity": entity, "count": 1.0} for (_, entity), name in own.items()]
    return SourceTables(
        entities,
        pa.concat_tables([names, pa.Table.from_pylist(added, NAMES)]),
        tables["relations"],
        tables["surfaces"],
        tables["languages"],
    )


def rows_of(read: ReadTable, schema: pa.Schema) -> pa.Table:
    """All rows of a table that was read, which has the schema."""
    return pa.concat_tables([schema.empty_table(), *read.blocks()])
