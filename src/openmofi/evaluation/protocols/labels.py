"""How good labels, or a labelled dataset, are where the truth is known: `openmofi.dataset.audit.audit`, as a
protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmofi.config import PositiveFraction, Settings
from openmofi.dataset import Audit
from openmofi.dataset.audit.audit import audit
from openmofi.errors import UsageError
from openmofi.evaluation.metrics.bootstrap import Interval
from openmofi.evaluation.protocol import NEITHER, EvaluationProtocol, Measured, Subject
from openmofi.storage import Manifest, file_fingerprint, fingerprint, read_manifest


@dataclass(frozen=True)
class LabelsSettings(Settings):
    """Settings of `labels`.

    Attributes:
        truth: the truth table; by default `truth.parquet` in the folder, or `world/truth.parquet` beside it (the demo).
        at_recall: recall at which selectors are compared.
        split: only the pairs of this split; all by default.
    """

    truth: str = ""
    at_recall: PositiveFraction = 0.75
    split: str = ""



def measure(subject: Subject) -> Measured:
    """See `openmofi.dataset.audit.audit` for the definitions."""
    settings: LabelsSettings = subject.settings
    manifest = read_manifest(subject.data)
    truth = _truth(subject.data, settings.truth)
    found = audit(subject.data, truth, at_recall=settings.at_recall, split=settings.split or None)
    metrics, intervals = _figures(found)
    return Measured(
        metrics=metrics, intervals=intervals, interval_over="pairs",
        counts={"rows": found.rows, "rows_without_truth": found.unmatched, "images": found.overall.labels.pairs},
        data_fingerprint=fingerprint([file_fingerprint(truth), settings.split]),
        data={"truth": str(truth), "split": settings.split}, encoder=_made_by(manifest),
        facts={"audit": found.as_dict()})


def _truth(folder: Path, given: str) -> Path:
    places = [Path(given)] if given else [folder / "truth.parquet", folder.parent / "world/truth.parquet"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UsageError(f"There is no truth at {' or '.join(str(place) for place in places)}.",
                         "Set truth=FILE, a Parquet table of `schema.TRUTH`.")
    return found


def _figures(found: Audit) -> tuple[dict[str, float], dict[str, Interval]]:
    sides = {"": found.overall.labels, "text_only_": found.overall.text_only}
    metrics, intervals = {}, {}
    for prefix, figures in sides.items():
        for name in ("precision", "recall") if figures else ():
            value, edges = getattr(figures, name), getattr(figures, f"{name}_interval")
            if value is not None:
                metrics[f"{prefix}{name}"] = value
            if edges is not None:
                intervals[f"{prefix}{name}"] = edges
    for selector, value in found.at_recall().items():
        if value is not None:
            metrics[f"{'' if selector == 'labels' else 'text_only_'}precision_at_recall"] = value
    for domain, beside in found.groups["domain"].items():
        for name in ("precision", "recall"):
            value = getattr(beside.labels, name)
            if value is not None:
                metrics[f"{domain}/{name}"] = value
    return metrics, intervals


def _made_by(manifest: Manifest) -> dict[str, Any]:
    return {"spec": str(manifest.settings.get("encoder") or manifest.kind), "fingerprint": manifest.fingerprint}


PROTOCOL = EvaluationProtocol(
    name="labels", version=1, headline="precision", settings=LabelsSettings, measure=measure, judges=NEITHER,
    rule="Pairs whose image cannot be read count as missed: they lower the recall.",
    data="A folder of `openmofi label` or `openmofi dataset build`, and the truth of its pairs.")
