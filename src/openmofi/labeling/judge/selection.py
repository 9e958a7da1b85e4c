"""Which of the entities that a text names the image shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.labeling.judge.calibration import Calibration
from openmofi.labeling.judge.evidence import Looked
from openmofi.labeling.read.links import LinkArrays
from openmofi.labeling.settings import SelectionSettings
from openmofi.schema import Reason

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Verdicts:
    """The judgement of each candidate of a `LinkArrays` that was judged.

    Attributes:
        index: (n,) position in the `LinkArrays`.
        image_score: (n,) float32, raw.
        probability: (n,) float64, calibrated.
        reason: (n,) `Reason` values.
    """

    index: Ints
    image_score: NDArray[np.float32]
    probability: NDArray[np.float64]
    reason: list[Reason]

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """(n,) whether the candidate is a label."""
        return np.array([reason is Reason.ACCEPTED for reason in self.reason], bool)


def judge(links: LinkArrays, usable: NDArray[np.bool_], looked: Looked, positions: Ints, calibration: Calibration,
          settings: SelectionSettings, threshold: float) -> Verdicts:
    """Judge the candidates of the pairs whose image is usable.

    Args:
        links: the shard's links.
        usable: (pairs,) whether the pair's image could be embedded.
        looked: the shard's images as their judges see them.
        positions: (len(links.entity_ids),) row of each entity in the judges' entities.
        calibration: of the same encoder.
        settings: see `SelectionSettings`.
        threshold: least probability of a label.
    """
    index = np.flatnonzero(links.judged & usable[links.pair])
    pair, entity = links.pair[index], links.entity[index]
    score = looked.scores(pair, positions[entity])
    # An entity that a text names twice is one candidate: its two mentions would else compete with each other.
    first, twin = first_of_each(pair, entity)
    group = renumbered(links.group[index[first]])
    found = calibration.probability(score[first] - looked.background()[pair[first]], links.link_score[index[first]],
                                    group, pair[first])
    reason = np.full(len(first), Reason.BELOW_THRESHOLD, dtype=object)
    reason[found >= threshold] = Reason.ACCEPTED
    reason[(reason == Reason.ACCEPTED) & ~_leads(found, group, settings.sibling_margin)] = Reason.SIBLING
    _keep_best(reason, found, pair[first], settings.top_k)
    return Verdicts(index, score, found[twin], list(reason[twin]))


def first_of_each(pair: Ints, entity: Ints) -> tuple[Ints, Ints]:
    """Positions of the first element of each (pair, entity), ascending, and for every element its place among these."""
    code = pair * (int(entity.max(initial=0)) + 1) + entity
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]


def renumbered(group: Ints) -> Ints:
    """Non-decreasing numbers → 0, 1, 2 … in the same order."""
    return np.unique(group, return_inverse=True)[1].astype(np.int64) if len(group) else group


def _leads(probability: NDArray[np.float64], group: Ints, margin: float) -> NDArray[np.bool_]:
    """Whether a candidate is its mention's best and leads the second by `margin`; equal ones: the first."""
    order = np.lexsort((np.arange(len(group)), -probability, group))
    leads = np.zeros(len(group), bool)
    first = np.ones(len(order), bool)
    first[1:] = np.diff(group[order]) != 0
    starts = np.flatnonzero(first)
    second = np.minimum(starts + 1, len(order) - 1)
    alone = np.append(starts[1:], len(order)) - starts == 1
    lead = np.where(alone, 1.0, probability[order[starts]] - probability[order[second]])
    leads[order[starts]] = lead >= margin
    return leads


def _keep_best(reason: NDArray[np.object_], probability: NDArray[np.float64], pair: Ints, top_k: int) -> None:
    """Beyond the `top_k` most probable of a pair, accepted candidates lose (in place)."""
    accepted = np.flatnonzero(reason == Reason.ACCEPTED)
    order = accepted[np.lexsort((accepted, -probability[accepted], pair[accepted]))]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(pair[order]) != 0])) if len(order) else order
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    reason[order[rank >= top_k]] = Reason.TOP_K
