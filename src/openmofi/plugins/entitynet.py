"""EntityNet's entities as a knowledge base (https://arxiv.org/abs/2505.02746).

- Entry points: `openmofi.kb_builders` `entitynet`
- Needs: nothing
- Use: `openmofi.build_kb("entitynet", DIR, out="kb")`; DIR: huggingface.co/datasets/lmb-freiburg/entitynet, cloned
- Never: fetches anything, or reads images and queries
- Tests: `tests/plugins/test_entitynet.py`
- Documentation: `docs/knowledge-base.md`

Columns are those that the authors' loader reads: `entitynet_textloader.py` of github.com/lmb-freiburg/entitynet.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.knowledge.builders.build import BuildSettings, build
from openmofi.knowledge.builders.source import SourceTables, source_of
from openmofi.knowledge.database import MEMORY
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import Manifest, file_fingerprint, read_parquet

FILE = "entitynet-entities.parquet"
NAME_SOURCES = ("name", "aliases", "common_names", "taxon_names")
DESCRIPTION_SOURCES = ("description", "type_description")
_TEXTS = pa.list_(pa.string())
_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("entity", "entity_name", "naturalentity")]
    + [(name, _TEXTS) for name in ("textvalues", "textsources")]
)
_HINT = f"Give a clone of huggingface.co/datasets/lmb-freiburg/entitynet, with {FILE}."


def entitynet_tables(folder: Path) -> SourceTables:
    """The tables of EntityNet's entities: their names, the first description, and which natural entity each is one of.

    Raises:
        OpenMofiError: the table is missing or damaged, or an entity's texts and their sources are not as many.
    """
    path = folder / FILE
    rows = read_parquet(path, _COLUMNS, hint=_HINT).to_pylist()
    named = {row["entity"]: row["entity_name"] for row in rows}
    entities, names, relations = [], [], []
    for row in rows:
        entity, kind = row["entity"], row["naturalentity"]
        values, sources = row["textvalues"] or [], row["textsources"] or []
        if len(values) != len(sources):
            raise OpenMofiError(f"{path}: {entity} has {len(values)} texts and {len(sources)} sources.", _HINT)
        texts = [(source, text) for text, source in zip(values, sources, strict=True) if text and text.strip()]
        described = [text for wanted in DESCRIPTION_SOURCES for source, text in texts if source == wanted]
        types = [named[kind]] if kind in named and kind != entity else []
        entities.append((entity, row["entity_name"], described[0] if described else "", types, 0.0))
        surfaces = dict.fromkeys([row["entity_name"], *(text for source, text in texts if source in NAME_SOURCES)])
        names += [(surface, entity, 1.0) for surface in surfaces if surface]
        relations += [(entity, "natural_entity", kind)] * bool(types)
    return SourceTables(
        _table(entities, ENTITIES), _table(names, NAMES), _table(relations, RELATIONS), SURFACES.empty_table()
    )


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
    return pa.table([list(column) for column in columns], schema=schema)


def build_entitynet(
    source: str | Path,
    out: str | Path,
    settings: BuildSettings | None = None,
    *,
    memory: str = MEMORY,
    restart: bool = False,
) -> Manifest:
    """Build a knowledge base of EntityNet's entities, Wikidata's and some of WordNet's; each has a popularity of 0.

    Args:
        source: folder with `entitynet-entities.parquet`.
        out: folder of the knowledge base.
        settings: see `BuildSettings`.
        memory, restart: see `build`.

    Raises:
        OpenMofiError: the table is missing or damaged, or `out` holds something else.
    """
    folder = Path(source)
    if not (folder / FILE).is_file():
        raise OpenMofiError(f"{folder} has no {FILE}.", _HINT)
    return build(
        "entitynet",
        lambda: source_of(entitynet_tables(folder), folder),
        {FILE: file_fingerprint(folder / FILE)},
        out,
        settings or BuildSettings(),
        memory=memory,
        restart=restart,
    )
