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

from openmofi.knowledge import beside, store
from openmofi.knowledge.builders.source import SourceTables, read_tables, source_files, source_fingerprints
from openmofi.knowledge.candidates import CandidateTable, tabulate
from openmofi.knowledge.integrity import mappable, with_digests
from openmofi.knowledge.projection import ProjectionSettings, project
from openmofi.storage import Manifest, Outputs, atomic_path, claimed, finish_manifest, require_local, write_arrow

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
        try:
            trie.save(str(temporary))
        except RuntimeError as error:  # marisa's way to say that a write came out short
            raise OSError(str(error)) from error


def _save_ids(out: Path, ids: list[str]) -> None:
    trie = marisa_trie.Trie(sorted(ids))
    rows = np.zeros(len(ids), np.int32)
    rows[[trie[entity_id] for entity_id in ids]] = np.arange(len(ids), dtype=np.int32)
    _save_trie(out / store.IDS, trie)
    _save_array(out / store.ID_ROWS, rows)


def _save_candidates(out: Path, table: CandidateTable) -> None:
    _save_trie(out / store.NAMES_MARISA, table.names)
    for name, array in ((store.OFFSETS, table.offsets), (store.ROWS, table.rows), (store.COMMONNESS, table.commonness),
                        (store.LINK_PROBABILITY, table.link_probability)):
        _save_array(out / name, array)


def write_base(folder: Path, entities: pa.Table, table: CandidateTable, vectors: NDArray[np.float16]) -> dict[str, Any]:
    """Write the files of a knowledge base.

    Args:
        folder: of the base, claimed.
        entities: `schema.ENTITIES`.
        table: candidates by rows of `entities`.
        vectors: (entities, dim), of length 1 or zeros.

    Returns:
        Counts for its manifest.
    """
    _save_candidates(folder, table)
    write_arrow(folder / store.ENTITIES_ARROW, entities.replace_schema_metadata(None))
    _save_ids(folder, entities.column("id").to_pylist())
    _save_array(folder / store.VECTORS, vectors)
    return {"entities": len(entities), "names": len(table.names), "candidates": len(table.rows),
            "ambiguous_names": int((np.diff(table.offsets) > 1).sum()),
            "unnameable": table.unnameable, "cut": table.cut,
            "files": {name: (folder / name).stat().st_size for name in sorted(store.FILES)}}


def build(builder: str, read: Callable[[], SourceTables], inputs: Mapping[str, str], out: str | Path,
          settings: BuildSettings, *, write_beside: Callable[[Path], dict[str, Any]] | None = None,
          restart: bool = False) -> Manifest:
    """Build the folder `out` from the tables of a source; if it is finished already, nothing is read.

    Args:
        builder: its name, for the manifest.
        read: reads and checks the tables.
        inputs: name → fingerprint of the files that `read` reads.
        out: folder of the knowledge base.
        settings: see there.
        write_beside: called with the folder at last: writes some of `openmofi.knowledge.beside.FILES`, and returns more
            counts for the manifest.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        OpenMofiError: `out` contains something else, or `read` refuses a table.
    """
    require_local(out)
    folder = mappable(out)
    with claimed(folder, store.KIND, {"builder": builder, **asdict(settings)}, inputs,
                 outputs=Outputs((*store.FILES, *beside.FILES)), restart=restart) as manifest:
        if manifest.finished:
            _log.info("%s is already finished", folder)
            return manifest
        counts = _build(read(), folder, settings)
        if write_beside:
            counts |= write_beside(folder)
            counts["files"] |= beside.sizes(folder)
        return finish_manifest(folder, manifest, with_digests(folder, manifest, counts))


def _build(source: SourceTables, folder: Path, settings: BuildSettings) -> dict[str, Any]:
    """Write the files of a knowledge base; its counts."""
    _log.info("names of %d entities", len(source.entities))
    ids = source.entities.column("id").combine_chunks()
    table = tabulate(source.names, ids, source.surfaces, settings.candidates)
    _log.info("vectors over %d relations", len(source.relations))
    heads, tails = (pc.index_in(source.relations.column(end), value_set=ids).to_numpy().astype(np.int64)
                    for end in ("head", "tail"))
    vectors = project(ids.to_pylist(), heads, tails, settings.projection)
    return {**write_base(folder, source.entities, table, vectors), "relations": len(source.relations)}


def build_table(source: str | Path, out: str | Path, settings: BuildSettings | None = None, *,
                restart: bool = False) -> Manifest:
    """Build a knowledge base of tables: Parquet, CSV, TSV or JSON lines (docs/knowledge-base.md).

    The same tables give the same bytes. A finished `out` of the same tables and settings is left as it is.

    Args:
        source: a folder with `entities` and optionally `names`, `relations`, `surfaces`; or a sample world, whose
            tables are in `kb/`; or one file with entities.
        out: folder of the knowledge base.
        settings: see there.
        restart: see `build`.

    Raises:
        OpenMofiError: a table cannot be used (every problem is named), or `out` holds something else.
    """
    inputs = source_fingerprints(source_files(source)[1])
    return build("table", lambda: read_tables(source), inputs, out, settings or BuildSettings(), restart=restart)
