"""A person who looks at a hundred labels and says the truth: the verdicts that `openmofi label audit` would save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from openmofi.dataset.report.sample import Drawn, Kinds, cells, draw
from openmofi.dataset.tables import Folder
from openmofi.review.verdicts import KIND, Verdict, Verdicts, probability_basis
from openmofi.storage import Shard
from studies.scoring import Truth, truth_of_shard

_BY = ("probability",)
"""What strata are made of; not types, of which the commonest of the judged rows may be others than those of all."""


@dataclass(frozen=True)
class JudgedRows(Folder):
    """Labels of those rows alone whose truth is written.

    Attributes:
        truth: of these rows; it may have others.
    """

    truth: tuple[Truth, ...] = ()

    def read(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """Those rows of one shard; `columns` has `key`."""
        table, keys = super().read(shard, columns), list(truth_of_shard(self.truth, shard.name))
        return table.filter(pc.is_in(table["key"], pa.array(keys, pa.string())))


def truthful_verdicts(labels: Folder, truth: Sequence[Truth], size: int, seed: int) -> Verdicts | None:
    """Draw labels as `openmofi label audit` does, and judge each by the truth.

    Only labels of rows whose truth is written are drawn. They stand for those of all rows: strata count these.

    Args:
        labels: of a finished job.
        truth: a label is right (`y`), in doubt (`u`) or else wrong (`n`).
        size: how many to draw; all where there are fewer.
        seed: of the draw.

    Returns:
        The verdicts; `None` where such rows have no accepted label, or all that was drawn is in doubt.
    """
    judged = JudgedRows(labels.path, labels.manifest, labels.shards, tuple(truth))
    if not any(accepted for accepted, _, _ in cells(judged, Kinds(None))):
        return None
    sample = draw(judged, Kinds(None), size, _BY, seed)
    strata = draw(labels, Kinds(None), 1, _BY, seed).strata
    position = {stratum.name: number for number, stratum in enumerate(strata)}
    verdicts = tuple(_verdict(judged, drawn, position[sample.strata[drawn.stratum].name]) for drawn in sample.drawn)
    manifest = labels.manifest
    said = Verdicts(
        kind=KIND,
        version=1,
        labels=manifest.fingerprint,
        basis=probability_basis(manifest.settings, manifest.inputs),
        encoder=manifest.inputs["/encoder"],
        kb=manifest.inputs["/kb"],
        by=_BY,
        seed=seed,
        sample=len(verdicts),
        strata=strata,
        verdicts=verdicts,
    )
    return said if said.said else None


def _verdict(judged: JudgedRows, drawn: Drawn, stratum: int) -> Verdict:
    candidate = drawn.candidate
    shard = judged.shards[candidate.shard]
    key = judged.read(shard, ["key"])["key"][candidate.row].as_py()
    truth = truth_of_shard(judged.truth, shard.name)[key]
    return Verdict(shard.name, key, candidate.entity, _said(candidate.entity, truth), candidate.probability, stratum)


def _said(entity: str, truth: Truth) -> Literal["y", "n", "u"]:
    if entity in truth.right:
        return "y"
    return "u" if entity in truth.doubt else "n"
