"""Building a knowledge base: the tables of a source in, the memory-mapped folder out, within a set memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openmofi.knowledge import layout
from openmofi.knowledge.build_settings import BuildSettings
from openmofi.knowledge.builders.source import ReadSource, read_source, source_files, source_fingerprints
from openmofi.knowledge.builders.staging import staged
from openmofi.knowledge.builders.tables import refusal
from openmofi.knowledge.builders.writers import write_candidates, write_links, write_lists, write_vectors
from openmofi.knowledge.files import beside
from openmofi.knowledge.files.database import JOINED, MEMORY, memory_bytes, number_of, tables_of
from openmofi.knowledge.files.integrity import mappable, with_digests
from openmofi.knowledge.files.languages import gather_languages, write_languages
from openmofi.knowledge.files.relations import write_relations
from openmofi.knowledge.files.tries import open_names
from openmofi.knowledge.identifiers import write_ids
from openmofi.storage import Manifest, claimed, finish_manifest, make_folder, require_local
from openmofi.storage.atomic import remove_folder, write_error
from openmofi.storage.tables.blocks import read_arrow_blocks

_log = logging.getLogger(__name__)
_WORK = ".build"


def build(
    builder: str,
    read: Callable[[], ReadSource],
    inputs: Mapping[str, str],
    out: str | Path,
    settings: BuildSettings,
    *,
    write_beside: Callable[[Path], dict[str, Any]] | None = None,
    memory: str = MEMORY,
    restart: bool = False,
) -> Manifest:
    """Build the folder `out` from the tables of a source; if it is finished already, nothing is read.

    Args:
        builder: its name, for the manifest.
        read: opens the tables.
        inputs: name → fingerprint of the files that `read` reads.
        out: folder of the knowledge base.
        settings: see there.
        write_beside: called with the folder at last: writes some of `files.beside.FILES`, and returns more
            counts for the manifest.
        memory: that the build may use, such as `8GB`; the rest is on disk, in `out`. It decides no byte.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        UsageError: `memory` is no size, or too little.
        OpenMofiError: `out` contains something else; a table cannot be used, or needs more memory; the disk is full.
    """
    require_local(out)
    allowed = memory_bytes(memory)
    folder = mappable(out)
    with claimed(
        folder, layout.KIND, {"builder": builder, **asdict(settings)}, inputs, outputs=layout.OUTPUTS, restart=restart
    ) as manifest:
        if manifest.finished:
            _log.info("%s is already finished", folder)
            return manifest
        source = read()
        for note in source.notes():
            _log.warning("%s", note)
        with _work_in(folder) as work:
            counts = _build(source, folder, settings, work, allowed)
        if write_beside:
            counts |= write_beside(folder)
        counts["files"] |= beside.sizes(folder)
        return finish_manifest(folder, manifest, with_digests(folder, manifest, counts))


@contextmanager
def _work_in(folder: Path) -> Iterator[Path]:
    """An empty folder in `folder`, hidden, which is there no longer than the block runs."""
    work = folder / _WORK
    remove_folder(work)  # of a build that was killed
    make_folder(work)
    try:
        yield work
    finally:
        remove_folder(work)


def _build(source: ReadSource, folder: Path, settings: BuildSettings, work: Path, memory: int) -> dict[str, Any]:
    """Write the files of a knowledge base; its counts."""
    _log.info("reading %s", source.path)
    joined, lists, tails = int(memory * JOINED), work / "lists.parquet", work / "tails"
    with staged(source, work, joined) as tables:
        if tables.problems:
            raise refusal(str(source.path), tables.problems)
        connection, entities = tables.connection, tables.rows["entities"]
        _log.info("names of %d entities", entities)
        counts = write_lists(connection, lists, settings.candidates)
        unnameable = number_of(connection, "SELECT count(*) FROM name WHERE key = ''")
        ids = write_ids(
            folder,
            (block.column("id") for block in read_arrow_blocks(tables.entities)),
            lambda: (
                (part.column("id").to_pylist(), part.column("row").to_numpy())
                for part in tables_of(connection, "SELECT id, row FROM entity ORDER BY id")
            ),
        )
        write_relations(connection, folder, entities)
        degree = write_links(connection, entities, tails)
        codes = gather_languages(connection, work / "languages_of_keys.parquet")
    parts = write_candidates(folder, lists, counts)
    if codes:
        write_languages(folder, open_names(folder, parts), work / "languages_of_keys.parquet", joined)
    _log.info("vectors over %d relations", tables.rows["relations"])
    write_vectors(folder, tables.entities, degree, tails, settings.projection, memory)
    try:
        tables.entities.replace(folder / layout.ENTITIES_ARROW)
    except OSError as error:
        raise write_error(error, folder / layout.ENTITIES_ARROW) from error
    return {
        **counts,
        **parts,
        **({"languages": codes} if codes else {}),
        "entities": entities,
        "unnameable": unnameable,
        "relations": tables.rows["relations"],
        "files": layout.file_sizes(folder, ids, parts),
    }


def build_table(
    source: str | Path,
    out: str | Path,
    settings: BuildSettings | None = None,
    *,
    memory: str = MEMORY,
    restart: bool = False,
) -> Manifest:
    """Build a knowledge base of tables: Parquet, CSV, TSV or JSON lines (docs/knowledge-base.md).

    The same tables give the same bytes; an `ATTRIBUTION.md` beside them goes with the base. A finished `out` of the
    same tables and settings is left as it is.

    Args:
        source: a folder with `entities` and optionally `names`, `relations`, `surfaces`; or a sample world, whose
            tables are in `kb/`; or one file with entities. Parquet files are read a block of rows at a time.
        out: folder of the knowledge base.
        settings: see there.
        memory, restart: see `build`.

    Raises:
        UsageError: `memory` is no size, or too little.
        OpenMofiError: a table cannot be used (every problem is named), or `out` holds something else.
    """
    folder, files = source_files(source)

    def write_beside(base: Path) -> dict[str, Any]:
        beside.keep_attribution(folder, base)
        return {}

    return build(
        "table",
        lambda: read_source(source),
        source_fingerprints(files),
        out,
        settings or BuildSettings(),
        write_beside=write_beside,
        memory=memory,
        restart=restart,
    )
