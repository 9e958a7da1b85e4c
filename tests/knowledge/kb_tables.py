"""Small sources of a knowledge base, written for tests."""

import json
from pathlib import Path

import pyarrow as pa

from openmofi.knowledge import layout
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import read_manifest, write_table

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


def resealed(folder: Path) -> Path:
    """A base whose files were changed, with the sizes and digests of what it now holds, as a stranger would give it."""
    path, manifest = folder / "manifest.json", read_manifest(folder, layout.KIND)
    counts = {name: value for name, value in manifest.counts.items() if name != layout.DIGESTS}
    counts["files"] = {name: (folder / name).stat().st_size for name in counts["files"]}
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"counts": layout.with_digests(folder, manifest, counts)})
    )
    return folder


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
