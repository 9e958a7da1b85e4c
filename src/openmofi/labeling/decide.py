"""Fits the calibration (evidence → probability) to a sample of a corpus, and chooses the threshold of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import CALIBRATION_FILE, GALLERY_FILE, Encoder
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.advice import refuses
from openmofi.labeling.calibrate.calibration import ENOUGH, Calibration, blindness, threshold_for_precision
from openmofi.labeling.calibrate.evidence import Scorer, reference_entities
from openmofi.labeling.calibrate.neighbours import Gallery, Space
from openmofi.labeling.calibrate.overclaim import JudgedSample, check_adapter
from openmofi.labeling.calibrate.rounds import CalibrationSample, Fitted, estimated, judged_by
from openmofi.labeling.label_job import Judge, LabelJob, corpus_sample, own_scale
from openmofi.labeling.label_settings import LabelSettings, SelectionSettings
from openmofi.linking import linker_fingerprint
from openmofi.mentions import detector_fingerprint
from openmofi.storage import exists, fingerprint

if TYPE_CHECKING:
    from openmofi.labeling.correction import Correction

RESCUE_ROUNDS = 2
ADAPTER = "adapter"
NOTHING = Calibration((0.0,), (0.0,), shown=0.0, together=1.0, pairs=0)
"""Of a job none of whose texts names an entity: there is nothing to fit, and nothing to judge."""


@dataclass(frozen=True)
class Decision:
    """When an entity becomes a label.

    Attributes:
        fitted: evidence → probability, and the witnesses.
        threshold: least probability of a label.
        judged: what it makes of the pairs that it was fitted on; `None` where nothing asked for them.
    """

    fitted: Fitted
    threshold: float
    judged: JudgedSample | None = None

    @property
    def calibration(self) -> Calibration:
        """See `Fitted`."""
        return self.fitted.calibration

    def save(self, folder: str | Path) -> None:
        """Save it beside an encoder: the witnesses first, since the calibration says that they are there."""
        if self.fitted.gallery is not None:
            self.fitted.gallery.save(f"{folder}/{GALLERY_FILE}")
        self.calibration.save(f"{folder}/{CALIBRATION_FILE}")


def decide(job: LabelJob) -> None:
    """Choose who judges, and from which probability on.

    An adapter that passes the check (`openmofi.labeling.calibrate.overclaim.check_adapter`) joins the encoder that it
    stands on: the mean of their probabilities claims less than its own, which are fitted on what it has learned from.
    """
    stored, adapted = job.stored, job.adapted
    if stored:
        require_fitted(stored.calibration, job.stored_path, adapted or job.encoder, job.kb, job.template)
    plain = decision_of(job, job.encoder, None if adapted else stored)
    job.judges = (_judge(plain, job.encoder, job.out),)
    job.threshold = plain.threshold
    if adapted is None:
        return
    if blind := blindness(plain.calibration.report):
        job.check = {"used": False, "why": f"The adapter is not used: {blind}"}
        job.running.progress.say(job.check["why"])
        return
    decision = decision_of(job, adapted, stored)
    assert plain.judged is not None
    assert decision.judged is not None
    check = check_adapter(plain.judged, decision.judged)
    job.running.progress.say(check.why)
    job.check = asdict(check)
    probability = np.asarray(plain.judged.probability, np.float64)
    if check.used:
        probability = (probability + decision.judged.probability) / 2
        job.judges = (_judge(decision, adapted, f"{job.out}/{ADAPTER}"), *job.judges)
    job.threshold = threshold_of(probability, job.settings.selection, job.correction)


def _judge(decision: Decision, encoder: Encoder, folder: str) -> Judge:
    """Keep a decision in a folder, and tell the encoder of it."""
    gallery = decision.fitted.gallery
    if decision.calibration is not NOTHING:
        decision.save(folder)
        encoder.calibrations[decision.calibration.fitted_for] = f"{folder}/{CALIBRATION_FILE}"
    return Judge(encoder, decision.calibration, "" if gallery is None else f"{folder}/{GALLERY_FILE}")


def decision_of(job: LabelJob, encoder: Encoder, stored: Fitted | None) -> Decision:
    """Fit calibration and threshold to the job's own pairs, whose evidence is gathered once.

    A calibration that was fitted on these very pairs is used as it is. One of another corpus is estimated again here,
    and the two are blended, see `openmofi.labeling.calibrate.rounds.estimated`.

    Args:
        job: gives the pairs.
        encoder: judges them.
        stored: a calibration of that encoder, if there is one.

    Raises:
        OpenMofiError: too few linked candidates, but some, and no calibration.
    """
    settings, selection = job.settings, job.settings.selection

    def least(fitted: Fitted, threshold: float) -> float:
        return 1.0 if refuses(fitted.calibration.report, selection, job.correction is not None) else threshold

    if not len(job.entities):
        return Decision(Fitted(NOTHING), selection.threshold if selection.target_precision is None else 1.0)
    name, reused = corpus_key(job), None
    if stored and stored.calibration.corpus == name and (stored.gallery is not None or not stored.calibration.votes):
        reused = stored
    if reused and selection.target_precision is None and not settings.adapt:
        return Decision(reused, least(reused, selection.threshold))
    sample, reference, scale = _sample(job, encoder, stored, reused)
    if reused:
        fitted = judged_by(sample, reused.calibration, sample.gallery if sample.foreign else reused.gallery)
    else:
        fitted = estimated(
            sample, stored.calibration if stored else None, rescue=RESCUE_ROUNDS if settings.rescue else 0
        )
        origin = {
            "encoder": encoder.fingerprint,
            "kb": job.kb.fingerprint,
            "template": job.template,
            **_text_settings(settings),
        }
        named = replace(
            fitted.calibration,
            fitted_for=calibration_key(encoder.fingerprint, job.kb, job.template),
            reference=tuple(reference),
            logit_scale=scale,
            origin=origin,
            corpus=name,
        )
        fitted = replace(fitted, calibration=named)
    assert fitted.probability is not None
    threshold = least(fitted, threshold_of(fitted.probability, selection, job.correction))
    return Decision(fitted, threshold, fitted.judged(sample, threshold))


def _sample(
    job: LabelJob, encoder: Encoder, stored: Fitted | None, reused: Fitted | None
) -> tuple[CalibrationSample, Sequence[str], float]:
    """Sample the job's pairs; return also the reference they are measured against, and the factor on cosines."""
    calibration, seed = stored.calibration if stored else None, job.settings.seed
    scale = calibration.logit_scale if calibration else encoder.logit_scale or own_scale(job, encoder, seed)

    def sampled(reference: Sequence[str], witnesses: Gallery | None, space: Space | None = None) -> CalibrationSample:
        scorer = Scorer.of(encoder, job.entities, reference, scale)
        return corpus_sample(job, scorer, seed, witnesses, space)

    if reused:
        reference: Sequence[str] = reused.calibration.reference
        return sampled(reference, reused.gallery if reused.calibration.source == "stored" else None), reference, scale
    reference = reference_entities(job.entities.ids, seed)
    sample = sampled(reference, None)
    if stored and len(sample.evidence.real) < ENOUGH:
        # What is blended with a stored calibration is measured as it was; by its witnesses where it stays as it is.
        reference = stored.calibration.reference
        space = sample.gallery.space if sample.gallery else None
        sample = sampled(reference, None if sample.enough else stored.gallery, space)
    return sample, reference, scale


def threshold_of(
    probability: NDArray[np.float64], selection: SelectionSettings, correction: Correction | None
) -> float:
    """Return the least probability of a label, given (n,) those of the pairs that the calibration was fitted on."""
    if selection.target_precision is None:
        return selection.threshold
    choose = correction.threshold_for if correction else threshold_for_precision
    return choose(probability, selection.target_precision)


def corpus_key(job: LabelJob) -> str:
    """Return a key of the pairs and links that a calibration is estimated on."""
    return fingerprint([job.content, job.tables.links_key, job.settings.text.max_candidates, job.settings.seed])


def calibration_key(encoder: str, kb: KnowledgeBase, template: str) -> str:
    """Return a key of what a calibration is valid for; `encoder` is a fingerprint."""
    return fingerprint([encoder, kb.fingerprint, template])


def calibration_keys(encoder: Encoder, kb: KnowledgeBase, template: str) -> list[str]:
    """Return the keys of calibrations valid for an encoder: its own, and its source's where it was exported."""
    judges = (encoder.fingerprint, encoder.companions.source_fingerprint)
    return [calibration_key(judge, kb, template) for judge in judges if judge]


def require_fitted(
    calibration: Calibration,
    path: str | Path,
    encoder: Encoder,
    kb: KnowledgeBase,
    template: str,
    *,
    fitted_yet: bool = True,
) -> Calibration:
    """Return the calibration of the file `path`; refuse one that was fitted for something else.

    Args:
        calibration: see there.
        path: of its file.
        encoder, kb, template: what it is used with.
        fitted_yet: whether the encoder is the one that judges, and not the base of an adapter that is yet to be fitted.

    Raises:
        OpenMofiError: it was fitted for another encoder, knowledge base or template.
    """
    if calibration.fitted_for in calibration_keys(encoder, kb, template):
        return calibration
    origin, judges = calibration.origin, (encoder.fingerprint, encoder.companions.source_fingerprint)
    others = []
    if fitted_yet and origin.get("encoder", judges[0]) not in judges:
        others.append(f"another encoder ({origin['encoder']}) than {encoder.spec} ({judges[0]})")
    if origin.get("kb", kb.fingerprint) != kb.fingerprint:
        others.append(f"another knowledge base ({origin['kb']}) than {kb.path} ({kb.fingerprint})")
    if origin.get("template", template) != template:
        others.append(f"another template ({origin['template']!r}) than {template!r}")
    if origin and not fitted_yet and not others:
        return calibration
    unsaid = (
        f"another encoder, knowledge base or template than {encoder.spec} ({judges[0]}), {kb.path} "
        f"({kb.fingerprint}) and {template!r}, and does not say for which"
    )
    raise OpenMofiError(
        f"{path} was fitted for {' and for '.join(others) or unsaid}: it does not hold here.",
        "Give what it was fitted for (after --adapt the encoder is run:LABELS/adapter), or fit a new "
        "one by a label job without --calibration.",
    )


def load_fitted(path: str | Path) -> Fitted:
    """Load the calibration of a file, and the witnesses beside it.

    Raises:
        OpenMofiError: they cannot be read.
    """
    calibration, folder = Calibration.load(path), str(path).rpartition("/")[0] or "."
    gallery = f"{folder}/{GALLERY_FILE}"
    return Fitted(calibration, Gallery.load(gallery) if exists(gallery) else None)


def stored_calibration(encoder: Encoder, kb: KnowledgeBase, template: str) -> Fitted | None:
    """Load the calibration beside an encoder, if it was fitted for this knowledge base and template.

    Beside an export lies what was fitted for its source.
    """
    path = encoder.companions.calibration
    fitted = load_fitted(path) if path else None
    return fitted if fitted and fitted.calibration.fitted_for in calibration_keys(encoder, kb, template) else None


def given_calibration(path: str | Path, kb: KnowledgeBase, encoder: Encoder, settings: LabelSettings) -> Fitted:
    """What is in a file and beside it, for the encoder; or for the adapter over it, which need not have been fitted
    yet, so that `require_fitted` has still to see it.

    Raises:
        OpenMofiError: it cannot be read, or was fitted for something else.
    """
    fitted = load_fitted(path)
    require_fitted(fitted.calibration, path, encoder, kb, settings.selection.template, fitted_yet=not settings.adapt)
    return fitted


def known_calibration(kb: KnowledgeBase, encoder: Encoder, out: str | Path, settings: LabelSettings) -> Fitted | None:
    """Load the calibration that an earlier try left in `out`, else the one beside the encoder, if any."""
    if settings.adapt:
        # Whether the adapter judges, and so what was fitted for, is found again from the same pairs.
        return None
    path = f"{out}/{CALIBRATION_FILE}"
    if exists(path):
        return given_calibration(path, kb, encoder, settings)
    return stored_calibration(encoder, kb, settings.selection.template)


def other_texts(calibration: Calibration, settings: LabelSettings) -> str:
    """Return a note where a calibration was fitted with another detector or linker; else empty.

    Evidence does not depend on them, and any linker's scores are probabilities, so that it holds all the same; but how
    often what a text names is shown (`Calibration.shown`) was estimated with them.
    """
    changes = [
        f"the {name} {calibration.origin[name]}, not {value}"
        for name, value in _text_settings(settings).items()
        if calibration.origin.get(name, value) != value
    ]
    return f"The calibration was fitted with {' and '.join(changes)}." if changes else ""


def _text_settings(settings: LabelSettings) -> dict[str, str]:
    return {
        "detector": detector_fingerprint(settings.text.detector),
        "linker": linker_fingerprint(settings.text.linker),
    }
