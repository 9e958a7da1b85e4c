"""Which encoder suits a user's own pairs, judged by decoys alone: no label and no truth is read.

Each encoder gathers the evidence that a label job gathers, and fits the calibration that a job fits. What is compared
is the number of right labels that each expects at one expected precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from openmofi.api.given import Folder, Pairs, check_placement, encoder_of, kb_of, public, shards_of
from openmofi.config import changed
from openmofi.errors import OpenMofiError, UsageError
from openmofi.labeling.label_settings import LabelSettings
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.api.changes import CompareEncodersChanges
    from openmofi.arrays import Doubles
    from openmofi.bootstrap import Interval, PairedDifference
    from openmofi.encoders import Encoder, EncoderLike
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling.calibrate.overclaim import JudgedSample
    from openmofi.storage import Shard


@dataclass(frozen=True)
class EncoderOnPairs:
    """An encoder on a corpus, as the calibration of a label job describes it.

    Attributes:
        spec: the encoder.
        separation: of what is shown from decoys, in SD of the decoys.
        information: what an image adds, in nats a pair that shows something it names.
        blind: a sentence where the encoder cannot tell the entities apart, so that a label job would accept nothing;
            else empty.
        labels: that reach the target precision, of the sampled pairs.
        expected_precision: of these; `None` without labels.
        right: labels that are expected to be right, a hundred pairs.
        right_interval: 95 % interval of `right` when groups of pairs are drawn; it does not include the error of the
            calibration.
    """

    spec: str
    separation: float
    information: float
    blind: str
    labels: int
    expected_precision: float | None
    right: float
    right_interval: Interval


@dataclass(frozen=True)
class EncoderComparison:
    """Encoders on the same pairs.

    Attributes:
        pairs: sampled pairs whose texts name an entity.
        candidates: their linked candidates.
        target_precision: the expected precision at which labels are counted.
        encoders: in the order given.
        best: spec of the encoder that expects most right labels.
        differences: spec of each other encoder → right labels a hundred pairs, `ours` of `best` and `theirs` of it.
        verdict: which encoder to take, in a sentence.
    """

    pairs: int
    candidates: int
    target_precision: float
    encoders: tuple[EncoderOnPairs, ...]
    best: str
    differences: dict[str, PairedDifference]
    verdict: str


@public(
    LabelSettings,
    without=("adapt", "asking", "confidence", "rescue", "sibling_margin", "threshold", "top_k", "trust_anyway"),
)
def compare_encoders(
    encoders: Sequence[EncoderLike],
    *,
    pairs: Pairs,
    kb: KnowledgeBase | Folder,
    target_precision: float = 0.95,
    settings: LabelSettings | None = None,
    cache: Folder | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: bool | Progress | None = None,
    **changes: Unpack[CompareEncodersChanges],
) -> EncoderComparison:
    """Compare encoders on your own pairs by decoys alone, without a label or a truth.

    Args:
        encoders: two or more, see docs/encoders.md.
        target_precision: the expected precision at which labels are counted.
        cache: folder that keeps links and features, for a label job with the same `cache` too; a temporary one where
            not given.

    Raises:
        UsageError: fewer than two encoders, the same one twice, or a setting that is unknown or out of its range.
        OpenMofiError: an encoder cannot compare images with texts, a shard cannot be read, or there are fewer than 200
            linked candidates.
    """
    check_placement(device, precision)
    chosen = changed(settings or LabelSettings(), {"target_precision": target_precision, **changes})
    shards, judged = shards_of(pairs), {}
    with shown_progress(progress) as console, nullcontext(cache) if cache else TemporaryDirectory() as folder:
        opened_kb = kb_of(kb, console)
        opened = [encoder_of(encoder, device, precision) for encoder in encoders]
        if len({encoder.fingerprint for encoder in opened}) < max(len(opened), 2):
            raise UsageError("A comparison needs two or more different encoders.", "Give the specs of two encoders.")
        for encoder in opened:
            encoder.require_comparison()
        for encoder in opened:
            console.say(f"{encoder.spec}:")
            judged[encoder.spec] = _judged(shards, opened_kb, encoder, chosen, folder, console)
    return _compared(judged, target_precision)


def _judged(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    settings: LabelSettings,
    cache: Folder,
    progress: Progress,
) -> tuple[JudgedSample, dict[str, Any]]:
    """Return the encoder's judgement of the pairs that a label job would calibrate on, and what its fit says."""
    from openmofi.engine import LocalEngine
    from openmofi.labeling.decide import decision_of
    from openmofi.labeling.job import read_corpus

    job = read_corpus(shards, kb, encoder, settings, cache, LocalEngine(), progress)
    try:
        decision = decision_of(job, encoder, None)
    except OpenMofiError as error:  # too few candidates or decoys; its hint is for a label job
        raise OpenMofiError(error.message, "Give more pairs.") from error
    if decision.judged is None:
        raise OpenMofiError(
            f"No text of a usable pair names an entity of the knowledge base {kb.path}.", "Give other pairs or --kb."
        )
    return decision.judged, dict(decision.calibration.report)


def _compared(judged: dict[str, tuple[JudgedSample, dict[str, Any]]], target: float) -> EncoderComparison:
    from openmofi.bootstrap import paired_bootstrap

    samples = {spec: sample for spec, (sample, _) in judged.items()}
    right = {spec: _right(sample) for spec, sample in samples.items()}
    groups = next(iter(samples.values())).pair_group
    assert groups is not None
    best = max(right, key=lambda spec: right[spec].sum())
    encoders = tuple(_described(spec, sample, report, right[spec]) for spec, (sample, report) in judged.items())
    differences = {
        spec: paired_bootstrap(right[best], values, groups) for spec, values in right.items() if spec != best
    }
    return EncoderComparison(
        len(groups),
        len(samples[best].probability),
        target,
        encoders,
        best,
        differences,
        _verdict(encoders, best, differences),
    )


def _right(sample: JudgedSample) -> Doubles:
    """(pairs,) right labels that are expected of each pair, times 100."""
    assert sample.pair_group is not None
    return np.asarray(100.0 * np.bincount(sample.pair, sample.right, minlength=len(sample.pair_group)), np.float64)


def _described(spec: str, sample: JudgedSample, report: dict[str, Any], right: Doubles) -> EncoderOnPairs:
    from openmofi.bootstrap import bootstrap_interval
    from openmofi.labeling.calibrate.calibration import blindness

    labels = int(sample.accepted.sum())
    return EncoderOnPairs(
        spec,
        report["separation"],
        report["information"],
        blindness(report),
        labels,
        round(float(sample.right.sum()) / labels, 4) if labels else None,
        round(float(right.mean()), 2),
        bootstrap_interval(right, sample.pair_group),  # type: ignore[arg-type]
    )


def _verdict(encoders: Sequence[EncoderOnPairs], best: str, differences: dict[str, PairedDifference]) -> str:
    sighted = [encoder.spec for encoder in encoders if not encoder.blind]
    if not sighted:
        return (
            "None of these encoders can tell the entities of these pairs apart. Try a larger one: "
            "openmofi encoder list."
        )
    if not any(encoder.labels for encoder in encoders):
        return "No encoder reaches the target precision on these pairs. Lower --target-precision, or give more pairs."
    alike = [spec for spec, each in differences.items() if spec in sighted and each.difference_interval[0] <= 0]
    if alike:
        names = [best, *alike]
        return (
            f"These pairs cannot tell {' and '.join(names)} apart. Take the faster one: "
            f"openmofi encoder bench {' '.join(names)}"
        )
    rivals = ", ".join(
        f"{spec} is blind here"
        if spec not in sighted
        else "{:.1f} more right labels a hundred pairs than {} ({:.1f}–{:.1f})".format(
            each.difference, spec, *each.difference_interval
        )
        for spec, each in differences.items()
    )
    return f"Take {best}: {rivals}."
