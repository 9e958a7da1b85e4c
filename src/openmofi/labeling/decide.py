"""The step between reading and judging: a calibration and a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openmofi.encoders import CALIBRATION_FILE, Encoder
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.corpus import Corpus, corpus_evidence, own_scale
from openmofi.labeling.judge.calibration import Calibration, fit_calibration, threshold_for_precision
from openmofi.labeling.judge.evidence import Evidence, Scorer, reference_sample
from openmofi.labeling.label_settings import LabelSettings
from openmofi.storage import fingerprint


@dataclass(frozen=True)
class Decision:
    """When an entity becomes a label.

    Attributes:
        calibration: evidence → probability.
        threshold: least probability of a label.
        evidence: of the calibration's pairs; `None` where nothing asked for it.
    """

    calibration: Calibration
    threshold: float
    evidence: Evidence | None

    def gain(self, threshold: float) -> dict[str, float]:
        """Labels from `threshold` on and how many of them are expected to be right, on the calibration's pairs."""
        assert self.evidence is not None
        probability = self.calibration.of(self.evidence)
        accepted = probability[probability >= threshold]
        return {"labels": len(accepted), "expected_right": round(float(accepted.sum()), 1)}


def decide(corpus: Corpus, encoder: Encoder, settings: LabelSettings, known: Calibration | None) -> Decision:
    """Calibration and threshold; what is not known yet is fitted on the job's own pairs, whose evidence is gathered
    once.

    Args:
        corpus: the pairs.
        encoder: judges them.
        settings: whose threshold or target precision holds.
        known: a calibration of that encoder, if there is one.

    Raises:
        OpenMofiError: too few linked candidates.
    """
    evidence, selection = None, settings.selection
    if known is None or selection.target_precision is not None or settings.adapt:
        reference = known.reference if known else reference_sample(corpus.entities.ids.to_pylist(), settings.seed)
        scale = known.logit_scale if known else encoder.logit_scale or own_scale(corpus, encoder, settings.seed)
        evidence = corpus_evidence(corpus, Scorer.of(encoder, corpus.entities, reference, scale), settings.seed)
        known = known or fit_calibration(
            evidence.real, evidence.link_score, evidence.group, evidence.pair, evidence.decoys,
            fitted_for=calibration_key(encoder.fingerprint, corpus.kb, corpus.template), reference=reference,
            logit_scale=scale)
    if selection.target_precision is None or evidence is None:
        return Decision(known, selection.threshold, evidence)
    return Decision(known, threshold_for_precision(known.of(evidence), selection.target_precision), evidence)


def calibration_key(encoder: str, kb: KnowledgeBase, template: str) -> str:
    """What a calibration is valid for; `encoder` is a fingerprint."""
    return fingerprint([encoder, kb.fingerprint, template])


def stored_calibration(encoder: Encoder, kb: KnowledgeBase, template: str) -> Calibration | None:
    """The calibration that lies beside an encoder, if it was fitted for this knowledge base and template.

    Beside an export lies what was fitted for its source.
    """
    path, keys = encoder.companions.calibration, calibration_keys(encoder, kb, template)
    calibration = Calibration.load(path) if path else None
    return calibration if calibration and calibration.fitted_for in keys else None


def calibration_keys(encoder: Encoder, kb: KnowledgeBase, template: str) -> list[str]:
    """The keys of calibrations that are valid for an encoder: its own, and its source's where it was exported."""
    judges = (encoder.fingerprint, encoder.companions.source_fingerprint)
    return [calibration_key(judge, kb, template) for judge in judges if judge]


def known_calibration(kb: KnowledgeBase, encoder: Encoder, out: str | Path, settings: LabelSettings,
                       given: str | Path | None) -> Calibration | None:
    """In order: the one given, the one that an earlier try left in `out`, the one beside the encoder; or none."""
    path = Path(out) / CALIBRATION_FILE
    if given or path.exists():
        return Calibration.load(given or path)
    return None if settings.adapt else stored_calibration(encoder, kb, settings.selection.template)
