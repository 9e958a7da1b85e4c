"""What lies beside the bases of a union, by the identifiers and rows of the union: images, ids elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from openmofi.knowledge.files.beside import DETAILS, EXTERNAL_IDS
from openmofi.knowledge.store import KnowledgeBase
from openmofi.knowledge.union.tables import kept_of


def joined_details(bases: Sequence[KnowledgeBase], into: Mapping[str, str], ids: pa.ChunkedArray) -> pa.Table | None:
    """Images and what priors are known by (`DETAILS`), each of the first base that has it; `None` where none has any.

    Args:
        bases: in the order of their weights.
        into: identifier that is gone → the one that it goes by.
        ids: of the union's entities, in order.
    """
    columns = dict.fromkeys(DETAILS.names, pa.nulls(len(ids), pa.string()))
    known = [(base, base.beside.details) for base in bases if base.beside.details is not None]
    for base, details in known:
        # An entity's own row stands before those of what was merged into it.
        own = base.entities.column("id")
        for there in (own, kept_of(own, into)):
            rows = pc.index_in(ids, value_set=there)
            columns = {name: pc.coalesce(column, details.column(name).take(rows)) for name, column in columns.items()}
    return pa.table(columns, schema=DETAILS) if known else None


def joined_external_ids(bases: Sequence[KnowledgeBase], into: Mapping[str, str]) -> pa.Table | None:
    """Ids elsewhere (`EXTERNAL_IDS`), each once, in order; `None` where no base has any."""
    tables = [
        table.set_column(0, "id", kept_of(table.column("id"), into))
        for base in bases
        for table in base.beside.external_ids()
    ]
    if not tables:
        return None
    distinct = pa.concat_tables(tables).group_by(EXTERNAL_IDS.names, use_threads=False).aggregate([])
    return distinct.sort_by([(name, "ascending") for name in EXTERNAL_IDS.names]).cast(EXTERNAL_IDS)
