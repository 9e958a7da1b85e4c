"""`openmofi kb union`: bases, or tables of bases, in; one base out, by way of tables that are kept beside it."""

import logging
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.beside import (
    ATTRIBUTION,
    DETAILS,
    DETAILS_FILE,
    EXTERNAL_IDS,
    EXTERNAL_IDS_FILE,
    REDIRECTS,
    REDIRECTS_FILE,
    keep_attribution,
)
from openmofi.knowledge.builders.build import BuildSettings
from openmofi.knowledge.builders.build import build as build_base
from openmofi.knowledge.builders.source import (
    COLUMNS,
    SourceTables,
    read_source,
    source_files,
    source_fingerprints,
)
from openmofi.knowledge.layout import KIND as BASE
from openmofi.knowledge.store import KnowledgeBase
from openmofi.plugins.bases.export import KIND as TABLES
from openmofi.plugins.bases.export import export_kb
from openmofi.plugins.bases.tables import Part, United, kept_of, read_same_as, read_whole, unite
from openmofi.storage import (
    MANIFEST,
    Manifest,
    Outputs,
    claimed,
    exists,
    fingerprint,
    finish_manifest,
    read_manifest,
    read_parquet,
    require_local,
    write_arrow,
    write_bytes,
    write_table,
    write_text,
)


def joined_details(bases: Sequence[KnowledgeBase], into: Mapping[str, str], ids: pa.ChunkedArray) -> pa.Table | None:
    """Join images and the source of priors (`DETAILS`), each of the first base that has it; `None` without any.

    Args:
        bases: in the order of their weights.
        into: identifier that is gone → the one that it goes by.
        ids: of the union's entities, in order.
    """
    columns = dict.fromkeys(DETAILS.names, pa.nulls(len(ids), pa.string()))
    with_details = [(base, base.beside.details) for base in bases if base.beside.details is not None]
    for base, details in with_details:
        # An entity's own row stands before those of what was merged into it.
        entity_ids = base.entities.column("id")
        for there in (entity_ids, kept_of(entity_ids, into)):
            rows = pc.index_in(ids, value_set=there)
            columns = {name: pc.coalesce(column, details.column(name).take(rows)) for name, column in columns.items()}
    return pa.table(columns, schema=DETAILS) if with_details else None


def joined_external_ids(bases: Sequence[KnowledgeBase], into: Mapping[str, str]) -> pa.Table | None:
    """Join identifiers elsewhere (`EXTERNAL_IDS`), each once, in order; `None` where no base has any."""
    tables = [
        table.set_column(0, "id", kept_of(table.column("id"), into))
        for base in bases
        for table in base.beside.external_ids()
    ]
    if not tables:
        return None
    distinct = pa.concat_tables(tables).group_by(EXTERNAL_IDS.names, use_threads=False).aggregate([])
    return distinct.sort_by([(name, "ascending") for name in EXTERNAL_IDS.names]).cast(EXTERNAL_IDS)


_log = logging.getLogger(__name__)
_CONFLICTS_FILE, _REDIRECTS, _DETAILS = "conflicts.parquet", "redirects.parquet", "details.parquet"
_NOTES = "notes"
_OUTPUTS = Outputs(("*.parquet", f"{_NOTES}/*.parquet", ATTRIBUTION))
_MOST_CANDIDATES = 30

Make = Callable[[], tuple[United, str]]
"""Makes the tables of a union, and the text of its `ATTRIBUTION.md`; `""`: none."""


def union_kb(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    weights: Sequence[float] | None = None,
    same_as: str | Path | None = None,
    candidates: int | None = None,
    restart: bool = False,
) -> KnowledgeBase:
    """Build one knowledge base of several; the order in which they are given does not matter.

    How names, priors and entities are joined: `openmofi.plugins.bases.tables`. The tables of the union are kept in
    `OUT.tables`, its redirects and conflicts in `out` too, and images and ids elsewhere of the bases that have them.

    Args:
        sources: folders of knowledge bases, or sources of one as of `build_table`.
        out: folder of the union.
        weights: one a source; all 1 where not given.
        same_as: a table with the columns `id` and `same_as`: what one source knows as `same_as` goes by `id`.
        candidates: most entities a name keeps; 30, or as many as a base has, where not given.
        restart: remove what was made in `out` and in `OUT.tables` before, and begin anew.

    Raises:
        UsageError: weights that do not fit, or a source that is given twice or is `out` itself.
        OpenMofiError: a source cannot be read, or `same_as` names an unknown identifier or goes round in a circle.
    """
    require_local(out)
    weights = _checked_weights(sources, weights)
    if any(Path(source).resolve() == Path(out).resolve() for source in sources):
        raise UsageError(f"{out} is one of the bases that are joined.", "Choose another output with -o.")
    bases = {
        source: KnowledgeBase.open(source)
        for source in sources
        if exists(f"{source}/{MANIFEST}") and read_manifest(source).kind == BASE
    }
    prints = _fingerprints(sources, bases)
    pairs = read_same_as(same_as) if same_as else []
    settings = {
        "builder": "union",
        "weights": [weight for _, weight in sorted(zip(prints.values(), weights, strict=True))],
        "same_as": fingerprint(sorted(pairs)) if pairs else "",
    }
    inputs = {f"source {number}": each for number, each in enumerate(sorted(prints.values()), 1)}
    most = candidates or max([_MOST_CANDIDATES, *(int(np.diff(base.table.offsets).max()) for base in bases.values())])

    def make() -> tuple[United, str]:
        with ExitStack() as stack:
            parts = [
                Part(str(source), prints[source], _tables_of(source, bases.get(source), stack, out), weight)
                for source, weight in zip(sources, weights, strict=True)
            ]
            united = unite(parts, pairs, str(same_as))
        of_bases = sorted(
            ((weight, bases[source]) for source, weight in zip(sources, weights, strict=True) if source in bases),
            key=lambda each: (-each[0], each[1].fingerprint),
        )
        return _with_beside(united, [base for _, base in of_bases]), _attributions(sources)

    build_united(make, out, settings, inputs, BuildSettings(candidates=most), restart=restart)
    return KnowledgeBase.open(out)


def build_united(
    make: Make,
    out: str | Path,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    build: BuildSettings,
    *,
    restart: bool = False,
) -> Manifest:
    """Write the tables of a union to `OUT.tables` unless they are there, and build `out` of them.

    Args:
        make: see `Make`; called where the tables are not there.
        out: folder of the base.
        settings, inputs: what decides the tables.
        build: of the base.
        restart: see `union_kb`.

    Raises:
        OpenMofiError: `make` fails, or a folder holds something else or cannot be written.
    """
    tables = Path(f"{str(out).rstrip('/')}.tables")
    with claimed(tables, TABLES, settings, inputs, outputs=_OUTPUTS, restart=restart) as manifest:
        if not manifest.finished:
            united, attribution = make()
            _write(tables, united, attribution)
            finish_manifest(tables, manifest, _counts(united))

    def write_beside(base: Path) -> dict[str, int]:
        keep_attribution(tables, base)
        for path in (tables / _NOTES / _CONFLICTS_FILE, tables / _NOTES / EXTERNAL_IDS_FILE):
            if path.exists():
                write_bytes(base / path.name, path.read_bytes())
        if (tables / _NOTES / _DETAILS).exists():
            write_arrow(base / DETAILS_FILE, read_parquet(tables / _NOTES / _DETAILS, DETAILS))
        redirects = read_parquet(tables / _NOTES / _REDIRECTS, REDIRECTS)
        write_arrow(base / REDIRECTS_FILE, redirects)
        return {"redirects": len(redirects)}

    return build_base(
        "table",
        lambda: read_source(tables),
        source_fingerprints(source_files(tables)[1]),
        out,
        build,
        write_beside=write_beside,
        restart=restart,
    )


def _write(folder: Path, united: United, attribution: str) -> None:
    for name in COLUMNS:
        table = getattr(united.tables, name)
        if len(table):
            write_table(folder / f"{name}.parquet", table)
    redirects = sorted(united.redirects.items())
    write_table(
        folder / _NOTES / _REDIRECTS,
        pa.table([[gone for gone, _ in redirects], [survivor for _, survivor in redirects]], schema=REDIRECTS),
    )
    write_table(folder / _NOTES / _CONFLICTS_FILE, united.conflicts)
    for name, table in ((_DETAILS, united.details), (EXTERNAL_IDS_FILE, united.external_ids)):
        if table is not None:
            write_table(folder / _NOTES / name, table)
    if attribution:
        write_text(folder / ATTRIBUTION, attribution)
    if len(united.conflicts):
        first = united.conflicts.slice(0, 1).to_pylist()[0]
        _log.warning(
            "%d contradictions between the sources, such as the %s of %r: %r is kept, %r is not; all are in %s",
            len(united.conflicts),
            first["column"],
            first["id"],
            first["kept"],
            first["other"],
            _CONFLICTS_FILE,
        )


def _counts(united: United) -> dict[str, Any]:
    tables = united.tables
    return {
        "entities": len(tables.entities),
        "names": len(tables.names),
        "relations": len(tables.relations),
        "merged": len(united.redirects),
        "conflicts": len(united.conflicts),
    }


def _fingerprints(sources: Sequence[str | Path], bases: Mapping[str | Path, KnowledgeBase]) -> dict[str | Path, str]:
    """Return source → fingerprint.

    Raises:
        UsageError: two are the same.
    """
    prints: dict[str | Path, str] = {}
    for source in sources:
        base = bases.get(source)
        each = base.fingerprint if base else fingerprint(source_fingerprints(source_files(source)[1]))
        for earlier, other in prints.items():
            if other == each:
                raise UsageError(f"{earlier} and {source} are the same knowledge base.", "Give it once.")
        prints[source] = each
    return prints


def _checked_weights(sources: Sequence[str | Path], weights: Sequence[float] | None) -> Sequence[float]:
    if not sources:
        raise UsageError("A union needs a knowledge base.", "Give folders of bases or of their tables.")
    if weights is None:
        return [1.0] * len(sources)
    if len(weights) != len(sources):
        raise UsageError(f"There are {len(weights)} weights for {len(sources)} knowledge bases.", "Give one for each.")
    if bad := [weight for weight in weights if not (weight > 0 and math.isfinite(weight))]:
        raise UsageError(f"The weight {bad[0]:g} is not above 0.", "Leave a base out instead of giving it no weight.")
    return weights


def _tables_of(source: str | Path, base: KnowledgeBase | None, stack: ExitStack, out: str | Path) -> SourceTables:
    if base is None:
        return read_whole(source)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path(out).resolve().parent, prefix=".export-")))
    export_kb(base, folder / "tables")
    return read_whole(folder / "tables")


def _with_beside(united: United, bases: Sequence[KnowledgeBase]) -> United:
    """Add what lies beside the bases; their redirects also resolve identifiers of still older bases."""
    earlier: dict[str, str] = {}
    for base in bases:
        if (table := base.beside.redirects) is not None:
            ids, into = (table.column(name).to_pylist() for name in REDIRECTS.names)
            earlier |= {
                gone: united.redirects.get(survivor, survivor) for gone, survivor in zip(ids, into, strict=True)
            }
    return replace(
        united,
        redirects={**earlier, **united.redirects},
        details=joined_details(bases, united.redirects, united.tables.entities.column("id")),
        external_ids=joined_external_ids(bases, united.redirects),
    )


def _attributions(sources: Sequence[str | Path]) -> str:
    """Return the attributions of the sources, each once."""
    texts: dict[str, None] = {}
    for source in sources:
        path = Path(source) / ATTRIBUTION
        if path.is_file():
            try:
                texts[path.read_text("utf-8")] = None
            except (OSError, UnicodeDecodeError) as error:
                raise OpenMofiError(f"{path} cannot be read: {error}.", "Build the knowledge base again.") from error
    return "\n".join(sorted(texts))
