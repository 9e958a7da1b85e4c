"""Small sources of a knowledge base, written for tests."""

from pathlib import Path

import pyarrow as pa

from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import write_table

ENTITY_IDS = ("bird", "machine", "stork", "wader", "steel", "tool", "alone")
DEFAULT_NAMES = (
    ("crane", "bird", 3.0),
    ("Cranes", "machine", 1.0),
    ("stork", "stork", 2.0),
    ("wading bird", "wader", 1.0),
    ("steel", "steel", 1.0),
    ("hot dog", "alone", 1.0),
    ("hot", "tool", 1.0),
)
DEFAULT_RELATIONS = (
    ("bird", "hypernym", "wader"),
    ("stork", "hypernym", "wader"),
    ("machine", "hypernym", "tool"),
    ("steel", "part", "machine"),
)


def write_source(
    folder: Path, ids=ENTITY_IDS, names=DEFAULT_NAMES, relations=DEFAULT_RELATIONS, surfaces=(), types=None
) -> Path:
    ids = list(ids)
    write_table(
        folder / "entities.parquet",
        pa.table(
            [
                ids,
                [str(i).title() for i in ids],
                [f"the {i}" for i in ids],
                types or [["thing"]] * len(ids),
                [1.0] * len(ids),
            ],
            schema=ENTITIES,
        ),
    )
    write_table(folder / "names.parquet", _table(names, NAMES))
    if relations:
        write_table(folder / "relations.parquet", _table(relations, RELATIONS))
    if surfaces:
        write_table(folder / "surfaces.parquet", _table(surfaces, SURFACES))
    return folder


def _table(rows, schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([list(column) for column in columns], schema=schema)
