"""The knowledge base of a folder of tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.knowledge.builders.build import BuildSettings, build
from openmofi.knowledge.builders.source import (
    ENTITIES_FILE,
    NAMES_FILE,
    RELATIONS_FILE,
    SURFACES_FILE,
    SourceTables,
    check_source,
)
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import Manifest, file_fingerprint, read_parquet

_TABLES = {ENTITIES_FILE: ENTITIES, NAMES_FILE: NAMES, RELATIONS_FILE: RELATIONS, SURFACES_FILE: SURFACES}


def build_table(source: str | Path, out: str | Path, settings: BuildSettings | None = None) -> Manifest:
    """Build a knowledge base of a folder of tables (or a sample world, whose tables are in `kb/`).

    The same tables give the same bytes. A finished `out` of the same tables and settings is left as it is.

    Args:
        source: holds `entities.parquet`, `names.parquet` and optionally `relations.parquet`, `surfaces.parquet`.
        out: folder of the knowledge base.
        settings: see there.

    Raises:
        OpenMofiError: a table cannot be used (the first bad row is named), or `out` holds something else.
    """
    folder = source_folder(source)
    inputs = {name: file_fingerprint(folder / name) for name in _TABLES if (folder / name).is_file()}
    return build("table", lambda: _read_folder(folder), inputs, out, settings or BuildSettings())


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


def _read_folder(folder: Path) -> SourceTables:
    return check_source(SourceTables(*(
        read_parquet(folder / name, schema, hint=f"Its columns are {_columns(schema)}.")
        if name in (ENTITIES_FILE, NAMES_FILE) or (folder / name).is_file() else schema.empty_table()
        for name, schema in _TABLES.items())))


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} ({column.type})" for column in schema)
