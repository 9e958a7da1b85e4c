"""What verdicts say of all labels: precision by strata, corrected, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Ints
from openmofi.dataset.audit.entities import labels_kb
from openmofi.dataset.report.sample import OTHER, Candidates, Cell, Content, Kinds, cells
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.review.precision import Precision, precision_by
from openmofi.review.sampling import range_name
from openmofi.review.verdicts import Verdicts
from openmofi.storage import Shard

_HINT = "Give the file that the page of these labels saved: openmofi label audit LABELS -o PAGE.html."


@dataclass(frozen=True)
class Corrected:
    """Labels beside what a person said of some.

    Attributes:
        labels: all accepted ones.
        probability, type: the accepted ones by range of probability and by type.
        below: candidates below the threshold by range of probability: those of probability ≥ .1 that are the best of
            their mention.
        unsure: verdicts that could not say, of the whole sample.
        unjudged: labels of the sample without a verdict yet.
    """

    labels: Precision
    probability: Mapping[str, Precision]
    type: Mapping[str, Precision]
    below: Mapping[str, Precision]
    unsure: int
    unjudged: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def correct(folder: Folder, verdicts: Verdicts, *, kb: KnowledgeBase | None = None) -> Corrected:
    """Correct the expected precision of labels by verdicts.

    Args:
        folder: of the labels.
        verdicts: of these labels. Those of candidates that are not the best of their mention, which an index takes
            too, are left out.
        kb: types of entities; the labels' own where not given.

    Raises:
        OpenMofiError: they are of other labels.
    """
    if verdicts.labels != folder.manifest.fingerprint:
        raise OpenMofiError(
            f"The verdicts of {verdicts.path} are of other labels ({verdicts.labels}) than "
            f"{folder.path} ({folder.manifest.fingerprint}).",
            _HINT,
        )
    kinds, wanted = Kinds(kb or labels_kb(folder)), _by_shard(verdicts)
    judged: dict[tuple[str, str, str], tuple[Cell, float]] = {}
    candidate: set[tuple[str, str, str]] = set()

    def look(shard: Shard, table: pa.Table, candidates: Candidates, kind: Ints) -> None:
        keys = wanted.get(shard.name, {})
        for row in table.filter(pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))).to_pylist():
            candidate.update((shard.name, row["key"], each["entity"]) for each in row["entities"] or ())
        key = table["key"].take(pa.array(candidates.row))
        rows = np.flatnonzero(pc.is_in(key, pa.array(sorted(keys), pa.string())).to_numpy())
        for row in rows.tolist():
            name, entity = key[row].as_py(), candidates.entity[row].as_py()
            if entity in keys[name]:
                cell = (bool(candidates.accepted[row]), int(candidates.ranges[row]), kinds.names.values[kind[row]])
                judged[shard.name, name, entity] = cell, float(candidates.probability[row])

    parts = cells(folder, kinds, seen=look)
    if odd := next((verdict for verdict in verdicts.verdicts if verdict.label not in candidate), None):
        raise OpenMofiError(
            f"{verdicts.path} judges a label that {folder.path} has not: the entity {odd.entity!r} of "
            f"the key {odd.key!r} in the shard {odd.shard!r}.",
            _HINT,
        )
    # The labels' own probabilities, not the file's.
    counted = tuple(
        replace(each, probability=judged[each.label][1]) for each in verdicts.verdicts if each.label in judged
    )
    unjudged = verdicts.sample - len(verdicts.verdicts)
    common = {kind for _, _, kind in parts}
    return _by_groups(
        parts,
        replace(verdicts, verdicts=counted),
        [(*cell[:2], cell[2] if cell[2] in common else OTHER) for cell in (judged[each.label][0] for each in counted)],
        unjudged,
    )


def _by_shard(verdicts: Verdicts) -> dict[str, dict[str, set[str]]]:
    """Shard → key → entities."""
    wanted: dict[str, dict[str, set[str]]] = {}
    for verdict in verdicts.verdicts:
        wanted.setdefault(verdict.shard, {}).setdefault(verdict.key, set()).add(verdict.entity)
    return wanted


def _by_groups(parts: Mapping[Cell, Content], verdicts: Verdicts, cell_of: Sequence[Cell], unjudged: int) -> Corrected:
    """Return the precision of all labels and of groups; `cell_of` has each verdict's cell."""

    def precision(which: Callable[[Cell], bool]) -> Precision:
        chosen = [content for cell, content in parts.items() if which(cell)]
        labels, total = sum(content.labels for content in chosen), sum(content.expected for content in chosen)
        return precision_by(verdicts, labels, total / labels if labels else None, [which(cell) for cell in cell_of])

    def by_range(accepted: bool) -> dict[str, Precision]:
        positions = sorted({cell[1] for cell in parts if cell[0] is accepted})
        return {range_name(each): precision(partial(_in_range, accepted, each)) for each in positions}

    kinds = sorted({kind for accepted, _, kind in parts if accepted}, key=lambda kind: (kind == OTHER, kind))
    return Corrected(
        precision(lambda cell: cell[0]),
        by_range(True),
        {kind: precision(partial(_of_kind, kind)) for kind in kinds},
        by_range(False),
        verdicts.unsure,
        unjudged,
    )


def _in_range(accepted: bool, position: int, cell: Cell) -> bool:
    return cell[:2] == (accepted, position)


def _of_kind(kind: str, cell: Cell) -> bool:
    return cell[0] and cell[2] == kind
