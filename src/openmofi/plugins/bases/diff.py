"""What changed between two builds of a knowledge base, joined on identifiers in Arrow, a block of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.errors import UsageError
from openmofi.knowledge.arrays import taken, taken_table
from openmofi.knowledge.beside import REDIRECTS
from openmofi.knowledge.store import KnowledgeBase, opened
from openmofi.storage import write_table

KINDS = ("added", "removed", "merged", "renamed", "described")
CHANGES = pa.schema(
    [
        ("change", pa.string()),
        ("id", pa.string()),
        ("name", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
    ]
)
"""changes: one row a change of an entity, by kind as in `KINDS`, then by falling popularity, then by `id`.

`name` is the newest; `before` and `after` are names of what is renamed, descriptions of what is described anew, and
`after` the identifier of what is merged; else null.
"""

_BLOCK = 1 << 18
_MOST_HOPS = 16


@dataclass(frozen=True)
class Differences:
    """The differences between two builds of a knowledge base, as `diff_kb` returns them.

    Attributes:
        old, new: fingerprints of the two bases.
        unchanged: entities of both whose names and descriptions are equal, of those that were asked for.
        changes: see `CHANGES`.
    """

    old: str
    new: str
    unchanged: int
    changes: pa.Table

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of changes of each kind."""
        return {kind: len(self._of(kind)) for kind in KINDS}

    def first(self, kind: str, limit: int = 5) -> list[dict[str, str | None]]:
        """Return the changes of a kind to the most popular entities, as rows of `CHANGES`."""
        return self._of(kind).slice(0, limit).to_pylist()

    def plain(self, limit: int = 5) -> dict[str, Any]:
        """Return plain values for JSON: fingerprints, counts, and the first changes of each kind."""
        return {
            "old": self.old,
            "new": self.new,
            "unchanged": self.unchanged,
            "counts": self.counts,
            "first": {kind: self.first(kind, limit) for kind in KINDS},
        }

    def _of(self, kind: str) -> pa.Table:
        return self.changes.filter(pc.equal(self.changes.column("change"), kind))


def diff_kb(
    old: KnowledgeBase | str | Path,
    new: KnowledgeBase | str | Path,
    *,
    ids: Sequence[str] | None = None,
    out: str | Path | None = None,
) -> Differences:
    """Compare two builds: entities added, removed, merged, renamed, described anew.

    An entity is the same in both if its identifier is. What is gone counts as merged where `new` has a table of
    redirects (`openmofi.knowledge.beside.REDIRECTS`) that leads to an entity, else as removed.

    Args:
        old, new: knowledge bases, or their folders.
        ids: what became of these entities of `old` alone, such as those of labels that were made with it; none of the
            others, and nothing that was added. Those that `old` has not, nor leads to, are in no count.
        out: a Parquet file that gets all changes.

    Raises:
        UsageError: `out` is no `.parquet` file.
        OpenMofiError: one is no knowledge base, or `out` cannot be written.
    """
    if out is not None and Path(out).suffix != ".parquet":
        raise UsageError(f"{out} cannot be written: the changes are a table.", "Give a file that ends in .parquet.")
    before, after = opened(old), opened(new)
    old_ids, new_ids = (kb.entities.column("id").combine_chunks() for kb in (before, after))
    # The row in `old` of every row of `new`, −1 where it is new.
    was = pc.fill_null(pc.index_in(new_ids, value_set=old_ids), -1).to_numpy(zero_copy_only=False)
    there = np.zeros(len(before), np.bool_)
    there[was[was >= 0]] = True
    gone = np.flatnonzero(~there)
    into = _redirected(after, old_ids.take(pa.array(gone)), new_ids)
    merged = pc.is_valid(into).to_numpy(zero_copy_only=False)
    added, common = np.flatnonzero(was < 0), np.flatnonzero(was >= 0)
    parts = [
        _part("added", after, added),
        _part("removed", before, gone[~merged]),
        _part("merged", before, gone[merged], after=into.drop_null()),
    ]
    changed = np.zeros(len(after), np.bool_)
    for kind, column in (("renamed", "name"), ("described", "description")):
        rows = np.concatenate([np.zeros(0, np.int64), *_unequal(before, after, was, common, column)])
        changed[rows] = True
        old_values, new_values = before.entities.column(column), after.entities.column(column)
        parts.append(_part(kind, after, rows, taken(old_values, was[rows]), taken(new_values, rows)))
    changes, same = pa.concat_tables(parts).combine_chunks(), common[~changed[common]]
    if ids is not None:
        wanted = pc.unique(before.current(pa.array(ids, pa.string())))
        changes = changes.filter(pc.is_in(changes.column("id"), value_set=wanted))
        changes = changes.filter(pc.not_equal(changes.column("change"), "added"))
        same = same[np.isin(same, pc.drop_null(pc.index_in(wanted, value_set=new_ids)).to_numpy())]
    if out is not None:
        write_table(out, changes)
    return Differences(before.fingerprint, after.fingerprint, len(same), changes)


def _unequal(
    before: KnowledgeBase, after: KnowledgeBase, was: NDArray[np.integer], rows: NDArray[np.int64], column: str
) -> Iterator[NDArray[np.int64]]:
    """Yield those of the rows `rows` of `after` whose text in `column` differs from that in `before`."""
    old, new = (kb.entities.column(column) for kb in (before, after))
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        unequal = pc.not_equal(taken(old, was[block]), taken(new, block))
        yield block[unequal.to_numpy(zero_copy_only=False)]


def _part(
    kind: str, kb: KnowledgeBase, rows: NDArray[np.int64], before: pa.Array | None = None, after: pa.Array | None = None
) -> pa.Table:
    """Return the changes of a kind: entities of `kb` with their old and new values."""
    entities = taken_table(kb.entities.select(["id", "name", "popularity"]), rows)
    nothing = pa.nulls(len(rows), pa.string())
    table = pa.table(
        [
            pa.array([kind] * len(rows), pa.string()),
            entities.column("id"),
            entities.column("name"),
            nothing if before is None else before,
            nothing if after is None else after,
        ],
        schema=CHANGES,
    )
    order = pc.sort_indices(
        table.append_column("popularity", entities.column("popularity")),
        sort_keys=[("popularity", "descending"), ("id", "ascending")],
    )
    return table.take(order)


def _redirected(kb: KnowledgeBase, gone: pa.StringArray, there: pa.StringArray) -> pa.StringArray:
    """Return what each identifier that is gone was merged into; null where unknown, or gone too."""
    redirects = kb.beside.redirects
    if not len(gone) or redirects is None:
        return pa.nulls(len(gone), pa.string())
    sources, targets = (redirects.column(name).combine_chunks() for name in REDIRECTS.names)
    current, arrived = gone, pc.is_in(gone, value_set=there)
    for _ in range(_MOST_HOPS):  # circles have no end
        following = targets.take(pc.index_in(current, value_set=sources, skip_nulls=True))
        current = pc.if_else(arrived, current, following)
        arrived = pc.is_in(current, value_set=there)
        if pc.all(pc.or_(arrived, pc.is_null(current))).as_py():
            break
    return pc.if_else(arrived, current, pa.scalar(None, pa.string()))
