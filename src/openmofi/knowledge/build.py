"""Building a knowledge base: checked source tables in, the memory-mapped folder out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.knowledge.candidates import CandidateTable, tabulate
from openmofi.knowledge.projection import ProjectionSettings, project
from openmofi.knowledge.source import (
    ENTITIES_FILE,
    NAMES_FILE,
    RELATIONS_FILE,
    SURFACES_FILE,
    Source,
    check_source,
    read_source,
    source_folder,
)
from openmofi.knowledge.store import (
    COMMONNESS,
    ENTITIES_ARROW,
    ID_ROWS,
    IDS,
    KIND,
    LINK_PROBABILITY,
    NAMES_MARISA,
    OFFSETS,
    ROWS,
    VECTORS,
)
from openmofi.knowledge.wordnet import source_tables, wordnet_folder
from openmofi.storage import Manifest, atomic_path, claim_folder, file_fingerprint, finish_manifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildSettings:
    """How a knowledge base is built.

    Attributes:
        candidates: most entities a name keeps.
        projection: how coherence vectors are made.
    """

    candidates: int = 30
    projection: ProjectionSettings = field(default_factory=ProjectionSettings)


def _save_array(path: Path, array: NDArray[Any]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, array)


def _save_trie(path: Path, trie: marisa_trie.Trie) -> None:
    with atomic_path(path) as temporary:
        trie.save(str(temporary))


def _save_entities(path: Path, entities: pa.Table) -> None:
    # Arrow's IPC file, uncompressed, because Parquet cannot be memory-mapped; one batch, so that a row is an offset.
    batches = entities.combine_chunks().replace_schema_metadata(None).to_batches()
    with atomic_path(path) as temporary, pa.OSFile(str(temporary), "wb") as sink, \
            pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _save_ids(out: Path, ids: list[str]) -> None:
    trie = marisa_trie.Trie(sorted(ids))
    rows = np.zeros(len(ids), np.int32)
    rows[[trie[entity_id] for entity_id in ids]] = np.arange(len(ids), dtype=np.int32)
    _save_trie(out / IDS, trie)
    _save_array(out / ID_ROWS, rows)


def _save_candidates(out: Path, table: CandidateTable) -> None:
    _save_trie(out / NAMES_MARISA, table.names)
    for name, array in ((OFFSETS, table.offsets), (ROWS, table.rows), (COMMONNESS, table.commonness),
                        (LINK_PROBABILITY, table.link_probability)):
        _save_array(out / name, array)


def _vectors(source: Source, settings: ProjectionSettings) -> NDArray[np.float16]:
    ids = source.entities.column("id").combine_chunks()

    def rows(end: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = pc.index_in(source.relations.column(end), value_set=ids).to_numpy().astype(np.int64)
        return found

    return project(ids.to_pylist(), rows("head"), rows("tail"), settings)


def _counts(source: Source, table: CandidateTable, out: Path) -> dict[str, Any]:
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.suffix in (".arrow", ".marisa", ".npy"))
    return {
        "entities": len(source.entities), "names": len(table.names), "candidates": len(table.rows),
        "ambiguous_names": int((np.diff(table.offsets) > 1).sum()), "relations": len(source.relations),
        "unnameable": table.unnameable, "cut": table.cut,
        "files": {path.relative_to(out).as_posix(): path.stat().st_size for path in files},
    }


def _build(builder: str, read: Callable[[], Source], inputs: Mapping[str, str], out: Path,
           settings: BuildSettings) -> Manifest:
    manifest = claim_folder(out, KIND, {"builder": builder, **asdict(settings)}, inputs)
    if manifest.finished:
        _log.info("%s is finished already", out)
        return manifest
    source = read()
    _log.info("names of %d entities", len(source.entities))
    table = tabulate(source.names, source.entities.column("id").combine_chunks(), source.surfaces,
                     settings.candidates)
    _save_candidates(out, table)
    _save_entities(out / ENTITIES_ARROW, source.entities)
    _save_ids(out, source.entities.column("id").to_pylist())
    _log.info("vectors over %d relations", len(source.relations))
    _save_array(out / VECTORS, _vectors(source, settings.projection))
    return finish_manifest(out, manifest, _counts(source, table, out))


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
    inputs = {name: file_fingerprint(folder / name)
              for name in (ENTITIES_FILE, NAMES_FILE, RELATIONS_FILE, SURFACES_FILE) if (folder / name).is_file()}
    return _build("table", lambda: read_source(folder), inputs, Path(out), settings or BuildSettings())


def build_wordnet(source: str | Path, out: str | Path, settings: BuildSettings | None = None) -> Manifest:
    """Build a knowledge base of WordNet's nouns.

    Args:
        source: WordNet's dict folder (`data.noun`, `index.sense`), or a folder with `dict/` in it.
        out: folder of the knowledge base.
        settings: see `BuildSettings`.

    Raises:
        OpenMofiError: a file is missing or damaged, or `out` holds something else.
    """
    folder = wordnet_folder(source)
    inputs = {name: file_fingerprint(folder / name) for name in ("data.noun", "index.sense")}
    return _build("wordnet", lambda: check_source(Source(*source_tables(folder))), inputs, Path(out),
                  settings or BuildSettings())
