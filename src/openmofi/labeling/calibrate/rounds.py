"""A calibration of a corpus' own pairs, in rounds: what is found in one is used in the next.

    fit without votes, with or without offsets of entities → votes of neighbours → fit → what is shown when it is named
    → fit → [rescue: votes by what was found, fit] … → humility

Offsets and rounds of rescue are kept where the evidence of the real pairs becomes the likelier for it beside that of
decoys. No labels.

A witness speaks for an entity as much as its text means it and its own image shows it: by the geometric mean of the
link score and of the probability without votes. Link scores alone would let texts bear each other out, where a
collection or an author names the same companion with every image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from openmofi.arrays import Doubles, Floats, Hashes, Ints
from openmofi.labeling.calibrate.calibration import MINIMUM, Calibration, fit_calibration
from openmofi.labeling.calibrate.evidence import Evidence
from openmofi.labeling.calibrate.naming import Named, Offsets, capped, entity_offsets, learned_naming, type_factor
from openmofi.labeling.calibrate.neighbours import Gallery, counted
from openmofi.labeling.calibrate.overclaim import JudgedSample, humility

VOTES = 1.5
"""Weight of a unit of votes, in SD of the decoys' evidence."""
ALIKE = 0.75
"""By how much the evidence that tells senses apart is worth less, where their correlation is 1."""
_TRIED_ON = 20_000


@dataclass(frozen=True)
class CalibrationSample:
    """Pairs that a calibration is estimated on.

    Attributes:
        evidence: of them; its pairs are the gallery's.
        ids: the entities that `evidence.entity` numbers.
        log_odds: (ids,) float32 by type, see `openmofi.knowledge.projection`.
        names: normalised names.
        name: (n,) number of each candidate's.
        pair_group: (pairs,) number of each pair's group, 0, 1, 2 …
        groups: (groups,) uint64 their numbers over the whole corpus, see `openmofi.labeling.groups.groups_of`.
        gallery: the pairs as witnesses, by their link scores, or others; `None` for no votes.
        nearest: (pairs, gallery) their neighbours in it.
        foreign: whether the gallery is of other pairs.
    """

    evidence: Evidence
    ids: Sequence[str]
    log_odds: NDArray[np.float32]
    names: Sequence[str]
    name: Ints
    pair_group: Ints
    groups: Hashes
    gallery: Gallery | None
    nearest: csr_array | None
    foreign: bool = False

    @property
    def weight(self) -> Doubles:
        """Return (pairs,) 1 / size of the pair's group."""
        return 1.0 / np.bincount(self.pair_group)[self.pair_group]

    @property
    def named(self) -> Named:
        """Return the candidates as their texts name them."""
        evidence = self.evidence
        group = self.groups[self.pair_group[evidence.pair]]
        return Named(self.ids, self.log_odds, evidence.entity, self.names, self.name, evidence.place, group)

    @property
    def near(self) -> NDArray[np.bool_]:
        """Return (m,) whether a decoy's image is of its pair's own group."""
        evidence = self.evidence
        return self.pair_group[evidence.other] == self.pair_group[evidence.pair[evidence.candidate]]

    @property
    def enough(self) -> bool:
        """Whether there are enough candidates and decoys to estimate anything."""
        return min(len(self.evidence.real), len(self.evidence.decoys)) >= MINIMUM


@dataclass(frozen=True)
class Fitted:
    """What was fitted on a corpus: a calibration and its witnesses.

    Attributes:
        calibration: see there.
        gallery: the witnesses as the last round weighs them, or `None`.
        probability: (n,) P(shown) of the sample's candidates; `None` where nothing asked for them.
        real, decoys: (n,) and (m,) the sample's evidence without offsets and with votes, likewise.
    """

    calibration: Calibration
    gallery: Gallery | None = None
    probability: Doubles | None = None
    real: Floats | None = None
    decoys: Floats | None = None

    def judged(self, sample: CalibrationSample, threshold: float) -> JudgedSample:
        """Return the judgement of the sample, for `openmofi.labeling.calibrate.overclaim`."""
        assert self.probability is not None
        assert self.real is not None
        assert self.decoys is not None
        return JudgedSample.of(
            sample.evidence,
            self.calibration,
            self.probability,
            self.real,
            self.decoys,
            threshold,
            sample.pair_group,
            sample.near,
        )


@dataclass(frozen=True)
class _Fit:
    """One fit and what it was made of."""

    calibration: Calibration
    probability: Doubles
    gallery: Gallery | None
    evidence: Evidence
    link: Doubles

    @property
    def log_likelihood(self) -> float:
        return float(self.calibration.report["log_likelihood"])


def fit_rounds(sample: CalibrationSample, *, rescue: int = 2) -> Fitted:
    """Estimate everything on a sample.

    Args:
        sample: with at least 200 candidates and decoys.
        rescue: how many rounds of votes by what was found there may be.
    """
    evidence = sample.evidence
    link = capped(evidence.link_score * type_factor(sample.log_odds)[evidence.entity], evidence.mention)
    offsets, alone = _without_votes(sample, link)
    plain = voted = evidence.less(offsets.of(np.arange(len(sample.ids))))
    gallery, weight = sample.gallery, VOTES * float(plain.decoys.std()) if sample.gallery else 0.0
    if gallery:
        image = alone.judge(plain, link)
        gallery = gallery.weighing(evidence.pair, evidence.entity, np.sqrt(image * evidence.link_score))
        voted = _with_votes(sample, plain, gallery, weight)
    best = _fit(voted, link, gallery, weight)
    rounds = [_step_report("votes" if gallery else "evidence", best, True)]
    naming = learned_naming(sample.named, link, best.probability, sample.weight[evidence.pair])
    best = _fit(voted, capped(evidence.link_score * naming.factors(sample.named), evidence.mention), gallery, weight)
    rounds.append(_step_report("naming", best, True))
    for number in range(rescue if gallery else 0):
        assert gallery is not None
        gallery = gallery.weighing(evidence.pair, evidence.entity, best.probability)
        tried = _fit(_with_votes(sample, plain, gallery, weight), best.link, gallery, weight)
        is_better = tried.log_likelihood > best.log_likelihood
        rounds.append(_step_report(f"rescue {number + 1}", tried, is_better))
        if not is_better:
            break
        best = tried
    values = {
        sample.ids[number]: float(value) for number, value in zip(offsets.entity, offsets.value, strict=True) if value
    }
    report = {**best.calibration.report, "rounds": rounds}
    fitted = Fitted(
        replace(best.calibration, offsets=values, naming=naming, report=report),
        best.gallery,
        best.probability,
        best.evidence.real,
        best.evidence.decoys,
    )
    modest, senses = humility(fitted.judged(sample, 0.5)), 1 - ALIKE * best.calibration.correlation
    calibration = replace(fitted.calibration, humility=modest, sense_weight=senses)
    return replace(fitted, calibration=calibration, probability=calibration.judge(best.evidence, best.link))


def judged_by(sample: CalibrationSample, calibration: Calibration, gallery: Gallery | None) -> Fitted:
    """Judge a sample by a given calibration; `gallery` is the sample's, with weights of its own."""
    evidence = sample.evidence.less(calibration.offsets_of(sample.ids))
    if gallery is not None and calibration.votes:
        evidence = _with_votes(sample, evidence, gallery, calibration.votes)
    link = capped(evidence.link_score * calibration.naming.factors(sample.named), evidence.mention)
    return Fitted(calibration, gallery, calibration.judge(evidence, link), evidence.real, evidence.decoys)


def estimated(sample: CalibrationSample, stored: Calibration | None, *, rescue: int = 2) -> Fitted:
    """Fit a calibration to a sample, blended with a stored one of another corpus where there is one.

    Below 200 candidates or decoys the other one stays as it is; from 10,000 on nothing of it is left.

    Raises:
        OpenMofiError: there are too few, and nothing else is known.
    """
    if stored and not sample.enough:
        # Groups are another corpus'.
        stored = replace(stored, source="stored", naming=replace(stored.naming, groups={}))
        return judged_by(sample, stored, sample.gallery)
    fresh = fit_rounds(sample, rescue=rescue)
    if not stored:
        return fresh
    blended = fresh.calibration.blended(stored, len(sample.evidence.real))
    return fresh if blended is fresh.calibration else judged_by(sample, blended, fresh.gallery)


def _without_votes(sample: CalibrationSample, link: Doubles) -> tuple[Offsets, Calibration]:
    """Fit offsets, or none where that is likelier, and a calibration without votes, to at most 20,000 candidates."""
    evidence = sample.evidence
    offsets = entity_offsets(evidence.random, evidence.random_entity)
    end = int(np.searchsorted(evidence.mention, evidence.mention[min(len(evidence.real), _TRIED_ON) - 1], "right"))
    part = evidence.first(end)
    if len(part.decoys) < MINIMUM:
        part, end = evidence, len(evidence.real)

    def fitted(tried: Offsets) -> Calibration:
        return fit_calibration(part.less(tried.of(np.arange(len(sample.ids)))), link[:end])

    none = Offsets(offsets.entity[:0], offsets.value[:0])
    tries = [(tried, fitted(tried)) for tried in ((none, offsets) if offsets.value.any() else (none,))]
    return max(tries, key=lambda each: float(each[1].report["log_likelihood"]))


def _with_votes(sample: CalibrationSample, evidence: Evidence, gallery: Gallery, weight: float) -> Evidence:
    """Add `weight` times the votes; those for decoys are without their own pair's."""
    assert sample.nearest is not None
    nearest = gallery.split(sample.nearest, evidence.pair, evidence.entity)
    without = None if sample.foreign else evidence.pair[evidence.candidate]
    votes = gallery.votes(nearest, evidence.pair, evidence.entity)
    others = gallery.votes(nearest, evidence.other, evidence.decoy_entity, without)
    rival = evidence.entity[evidence.rival]
    beside = gallery.votes(nearest, evidence.other, rival, without)
    return replace(
        evidence,
        real=evidence.real + weight * counted(votes, sample.log_odds[evidence.entity]),
        decoys=evidence.decoys + weight * counted(others, sample.log_odds[evidence.decoy_entity]),
        rivals=evidence.rivals + weight * counted(beside, sample.log_odds[rival]),
    )


def _fit(evidence: Evidence, link: Doubles, gallery: Gallery | None, weight: float) -> _Fit:
    fitted = fit_calibration(evidence, link)
    return _Fit(replace(fitted, votes=weight), fitted.judge(evidence, link), gallery, evidence, link)


def _step_report(step: str, tried: _Fit, accepted: bool) -> dict[str, Any]:
    return {
        "step": step,
        "log_likelihood": tried.log_likelihood,
        "expected_right": round(float(tried.probability[tried.probability >= 0.5].sum()), 1),
        "kept": accepted,
    }
