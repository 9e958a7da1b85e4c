"""What verdicts say of all labels: precision by strata, corrected, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Ints
from openmofi.dataset.audit.entities import labels_kb
from openmofi.dataset.review.cells import OTHER, Candidates, Cell, Content, Kinds, cells, range_name
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.verdicts.file import Verdicts
from openmofi.labeling.verdicts.precision import Precision, corrected_precision
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

    content = cells(folder, kinds, seen=look)
    if odd := next((verdict for verdict in verdicts.verdicts if verdict.label not in candidate), None):
        raise OpenMofiError(
            f"{verdicts.path} judges a label that {folder.path} has not: the entity {odd.entity!r} of "
            f"the key {odd.key!r} in the shard {odd.shard!r}.",
            _HINT,
        )
    kept = tuple(each for each in verdicts.verdicts if each.label in judged)
    counted = replace(verdicts, verdicts=kept, sample=verdicts.sample - len(verdicts.verdicts) + len(kept))
    common = {cell[2] for cell in content}
    return _Groups(
        content,
        counted,
        {
            label: ((cell[0], cell[1], cell[2] if cell[2] in common else OTHER), probability)
            for label, (cell, probability) in judged.items()
        },
    ).corrected()


def _by_shard(verdicts: Verdicts) -> dict[str, dict[str, set[str]]]:
    """Shard → key → entities."""
    wanted: dict[str, dict[str, set[str]]] = {}
    for verdict in verdicts.verdicts:
        wanted.setdefault(verdict.shard, {}).setdefault(verdict.key, set()).add(verdict.entity)
    return wanted


@dataclass(frozen=True)
class _Groups:
    content: Mapping[Cell, Content]
    verdicts: Verdicts
    judged: Mapping[tuple[str, str, str], tuple[Cell, float]]

    def corrected(self) -> Corrected:
        kinds = sorted({kind for accepted, _, kind in self.content if accepted}, key=lambda kind: (kind == OTHER, kind))
        ranges = {
            side: sorted({position for accepted, position, _ in self.content if accepted is side})
            for side in (True, False)
        }

        def in_range(side: bool, position: int) -> Callable[[Cell], bool]:
            return lambda cell: cell[:2] == (side, position)

        def of_kind(kind: str) -> Callable[[Cell], bool]:
            return lambda cell: cell[0] and cell[2] == kind

        by_range = {
            side: {range_name(position): self.precision(in_range(side, position)) for position in ranges[side]}
            for side in (True, False)
        }
        by_kind = {kind: self.precision(of_kind(kind)) for kind in kinds}
        return Corrected(
            self.precision(lambda cell: cell[0]),
            by_range[True],
            by_kind,
            by_range[False],
            self.verdicts.unsure,
            self.verdicts.sample - len(self.verdicts.verdicts),
        )

    def precision(self, which: Callable[[Cell], bool]) -> Precision:
        """Of the labels in the cells that `which` is true of."""
        labels = sum(content.labels for cell, content in self.content.items() if which(cell))
        total = sum(content.expected for cell, content in self.content.items() if which(cell))
        said = np.array([which(self.judged[verdict.label][0]) for verdict in self.verdicts.said], bool)
        unsure = sum(which(self.judged[verdict.label][0]) for verdict in self.verdicts.verdicts) - int(said.sum())
        right = self.verdicts.right[said]
        counts = Precision(labels, total / labels if labels else None, len(right), int(right.sum()), unsure)
        if not len(right):
            return counts
        # The labels' own probabilities, not the file's.
        probability = np.array([self.judged[verdict.label][1] for verdict in self.verdicts.said])[said]
        mean, interval = corrected_precision(
            total / labels, probability, right, self.verdicts.weights[said], self.verdicts.strata_said[said]
        )
        return Precision(counts.labels, counts.expected, counts.judged, counts.right, counts.unsure, mean, interval)
