"""Precision and recall of labels, or of a labelled dataset, where the truth is known: `openmofi.plugins.audit.audit` as
a protocol.

Data: A folder of `openmofi label` or `openmofi dataset build`, and the truth of its pairs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from openmofi.bootstrap import Interval
from openmofi.config import PositiveFraction, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.protocol import NEITHER, EvaluationProtocol, Measured, Subject
from openmofi.plugins.audit.audit import Audit, audit
from openmofi.plugins.audit.truth_table import read_truth
from openmofi.storage import file_fingerprint, fingerprint, read_manifest


def entities_of(truth: str | Path, shards: Iterable[str]) -> dict[tuple[str, str], str]:
    """(shard, key) → the entity that the image shows, by a table of `schema.TRUTH`.

    Raises:
        OpenMofiError: the file cannot be read, has no shards, or gives an image two entities.
    """
    table = read_truth(truth, sorted(set(shards)), None)
    if "shard" not in table.column_names:
        raise OpenMofiError(f"{truth} has no column 'shard'.", "Add it: images are known by shard and key here.")
    entities: dict[tuple[str, str], str] = {}
    for shard, key, entity in zip(*(table[name].to_pylist() for name in ("shard", "key", "entity")), strict=True):
        if entities.setdefault((shard, key), entity) != entity:
            raise OpenMofiError(
                f"{truth} gives the image {key!r} of the shard {shard!r} two entities.", "Give each image one here."
            )
    return entities


_NAMES = ("precision", "recall")


@dataclass(frozen=True)
class LabelsSettings(Settings):
    """Settings of `labels`.

    Attributes:
        truth: the truth table; by default `truth.parquet` in the folder, or `world/truth.parquet` beside it (the demo).
        at_recall: recall at which the precisions of selectors are compared.
        split: use only the pairs of this split; all by default.
    """

    truth: str = ""
    at_recall: PositiveFraction = 0.75
    split: str = ""


def measure(subject: Subject) -> Measured:
    """See `openmofi.plugins.audit.audit` for the definitions."""
    settings: LabelsSettings = subject.settings
    manifest = read_manifest(subject.data)
    truth = _truth(subject.data, settings.truth)
    result = audit(subject.data, truth, at_recall=settings.at_recall, split=settings.split or None)
    metrics, intervals = _values(result)
    return Measured(
        metrics=metrics,
        intervals=intervals,
        interval_over="pairs",
        counts={"rows": result.rows, "rows_without_truth": result.unmatched, "images": result.overall.labels.pairs},
        data_fingerprint=fingerprint([file_fingerprint(truth), settings.split]),
        data={"truth": str(truth), "split": settings.split},
        facts={"audit": result.as_dict()},
        encoder={"spec": str(manifest.settings.get("encoder") or manifest.kind), "fingerprint": manifest.fingerprint},
    )


def _truth(folder: Path, given: str) -> Path:
    paths = [Path(given)] if given else [folder / "truth.parquet", folder.parent / "world/truth.parquet"]
    truth = next((path for path in paths if path.is_file()), None)
    if truth is None:
        raise UsageError(
            f"Truth table not found: {' or '.join(map(str, paths))}.",
            "Set truth=FILE, a table with the columns key and entity.",
        )
    return truth


def _values(result: Audit) -> tuple[dict[str, float], dict[str, Interval]]:
    sides = {"": result.overall.labels, "text_only_": result.overall.text_only}
    edges = {
        f"{prefix}{name}": getattr(figures, f"{name}_interval")
        for prefix, figures in sides.items()
        if figures
        for name in _NAMES
    }
    values = {
        f"{prefix}{name}": getattr(figures, name) for prefix, figures in sides.items() if figures for name in _NAMES
    }
    values |= {
        f"{'' if selector == 'labels' else 'text_only_'}precision_at_recall": value
        for selector, value in result.at_recall().items()
    }
    values |= {
        f"{domain}/{name}": getattr(beside.labels, name)
        for domain, beside in result.groups.get("domain", {}).items()
        for name in _NAMES
    }
    return (
        {name: value for name, value in values.items() if value is not None},
        {name: interval for name, interval in edges.items() if interval is not None},
    )


PROTOCOL = EvaluationProtocol(
    name="labels",
    version=1,
    headline="precision",
    settings=LabelsSettings,
    measure=measure,
    judges=NEITHER,
    rule="Pairs whose image cannot be read count as missed: they lower the recall.",
)
