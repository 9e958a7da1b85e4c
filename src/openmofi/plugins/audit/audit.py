"""How good the labels are, where the truth is known.

Definitions, over the pairs of known truth in the labelled shards; a label is a distinct (image, entity):

- **precision** = accepted labels whose entity is the truth / accepted labels.
- **recall** = pairs whose text names the true entity (`named`) and whose accepted labels contain it / pairs
  `named`. Pairs that could not be used (a broken image) count as missed. Where the truth does not say what is
  named, all pairs of known truth count; of a pair with several true entities each counts.
- **text-only linker**: the candidate with the highest link score of every mention is accepted; no image is
  used. Its curve sweeps the link score over *all* candidates, so that it, too, reaches high recalls.
- **curve of the selector**: sweeps `probability` over all judged entities. The limits on labels an image and
  the margin over siblings are left out of the sweep, so the job's own operating point may lie off the curve.
- **precision at a recall**: at the highest threshold that reaches it; `None` if none does.
- **calibration**: of `probability`, over all judged entities.
- **ambiguous** pairs are those where the name that the text uses has more than one entity in the knowledge
  base.
- **hierarchy**: accepted labels that are a true class, below one, above one, or neither, by the knowledge base's
  subclasses and instances; everywhere else a label below or above the true class counts as wrong.
- By **detector**, and by **kind** where texts have kinds (`schema.with_kinds`): labels whose mention was found by it or
  stands in it; recall is still over all named pairs.
- Intervals: 95 %, percentile bootstrap by pairs, 1,000 seeded resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.arrays import Bools, Codes, Floats, Ints
from openmofi.bootstrap import Interval, percentiles, resampled_totals
from openmofi.dataset.report import plots
from openmofi.dataset.tables import Folder, best_of_pairs, labels_kb
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.audit.curves import CalibrationCurve, Figures, PrecisionRecallCurve
from openmofi.plugins.audit.truth import Against, against


@dataclass(frozen=True)
class Hierarchy:
    """Accepted labels of pairs of known truth; each counts once, as the first of these that holds.

    Attributes:
        exact: is a true entity.
        below: a true entity is above it (an instance, or a subclass by P279 or WordNet's hypernyms): more than the
            truth says, and right if the truth is.
        above: it is above a true entity: right, and less than the truth says.
        other: neither.
        precision_or_below: (exact + below) / all, with a 95 % interval over pairs; `None` without labels.
        precision_or_related: (exact + below + above) / all.
    """

    exact: int
    below: int
    above: int
    other: int
    precision_or_below: float | None
    precision_or_related: float | None
    interval_or_below: Interval | None
    interval_or_related: Interval | None


def beside_classes(against: Against, kb: KnowledgeBase, *, resamples: int, seed: int) -> Hierarchy:
    """Count how accepted labels relate to the true entities of their pair.

    Args:
        against: labels and truth.
        kb: says what is above an entity; what it does not know is above and below nothing.
        resamples, seed: of the bootstrap.
    """

    @lru_cache(maxsize=1 << 16)
    def above(entity: str) -> frozenset[str]:
        return frozenset(kb.ancestors(entity)) if entity in kb else frozenset()

    counts = np.zeros((len(against.known), 4), np.int64)
    pairs, labels = against.pair[against.accepted], against.entity[against.accepted]
    for code in np.unique(pairs * max(len(against.ids), 1) + labels).tolist():
        pair, label = divmod(code, len(against.ids))
        counts[pair, _kind(against.ids[label], [against.ids[true] for true in against.true[pair]], above)] += 1
    exact, below, above_true, other = counts.sum(0).tolist()
    total = exact + below + above_true + other
    if not total:
        return Hierarchy(0, 0, 0, 0, None, None, None, None)
    related = np.stack([counts[:, :2].sum(1), counts[:, :3].sum(1), counts.sum(1)], axis=1)
    drawn = resampled_totals(related, resamples=resamples, seed=seed)
    drawn = drawn[drawn[:, 2] > 0] if drawn[:, 2].any() else related.sum(0, keepdims=True)
    intervals = [percentiles(drawn[:, column] / drawn[:, 2]) for column in (0, 1)]
    return Hierarchy(exact, below, above_true, other, (exact + below) / total, (total - other) / total, *intervals)


def _kind(label: str, true: Sequence[str], above: Callable[[str], frozenset[str]]) -> int:
    if label in true:
        return 0
    if any(entity in above(label) for entity in true):
        return 1
    return 2 if any(label in above(entity) for entity in true) else 3


GROUPS = ("domain", "ambiguous", "split")


@dataclass(frozen=True)
class ComparedFigures:
    """The labels' figures and, beside them, the text-only linker's on the same pairs (`None` for a dataset)."""

    labels: Figures
    text_only: Figures | None


@dataclass(frozen=True)
class Audit:
    """The result of `audit`; the definitions are at the top of this module.

    Attributes:
        rows, unmatched: rows of the labels, and those of them without a known truth (of the requested split).
        keys_unmatched: pairs of the truth that the labels do not have (0 for a dataset, which keeps a part of them),
            with `examples` of their keys.
        unknown_entities: entities of the truth that neither the labels nor their knowledge base know.
        overall: all pairs.
        groups: `domain`, `ambiguous` (`true`, `false`), `split`, `detector`, `kind` → value → figures.
        curve, text_only_curve, calibration: `None` for a dataset, which keeps only what was accepted.
        recall_asked: the recall at which selectors are compared.
        hierarchy: accepted labels below or above the true class, which count as wrong elsewhere; `None` without a
            knowledge base that has relations.
    """

    rows: int
    unmatched: int
    overall: ComparedFigures
    groups: dict[str, dict[str, ComparedFigures]]
    curve: PrecisionRecallCurve | None
    text_only_curve: PrecisionRecallCurve | None
    calibration: CalibrationCurve | None
    recall_asked: float
    keys_unmatched: int = 0
    examples: tuple[str, ...] = ()
    unknown_entities: tuple[str, ...] = ()
    hierarchy: Hierarchy | None = None

    def at_recall(self, recall: float | None = None) -> dict[str, float | None]:
        """Precision of the `labels`' selector and of `text_only` at `recall` (default: `recall_asked`)."""
        target = self.recall_asked if recall is None else recall
        return {
            name: _precision_at(curve, target)
            for name, curve in (("labels", self.curve), ("text_only", self.text_only_curve))
        }

    def compare(self, others: Mapping[str, Audit]) -> dict[str, dict[str, float | None]]:
        """Other selectors beside this one: name → precision at `recall_asked`, at this one's own
        recall, and AP.

        The first row, `labels`, is this selector, the second, `text_only`, the linker.
        """
        own_recall = self.overall.labels.recall or 0.0
        curves = {
            "labels": self.curve,
            "text_only": self.text_only_curve,
            **{name: other.curve for name, other in others.items()},
        }
        return {
            name: {
                "at_recall": _precision_at(curve, self.recall_asked),
                "at_own_recall": _precision_at(curve, own_recall),
                "average_precision": curve.average_precision if curve else None,
            }
            for name, curve in curves.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rows": self.rows,
            "unmatched": self.unmatched,
            "keys_unmatched": self.keys_unmatched,
            "examples": list(self.examples),
            "unknown_entities": list(self.unknown_entities),
            "overall": asdict(self.overall),
            "groups": {
                group: {value: asdict(beside) for value, beside in values.items()}
                for group, values in self.groups.items()
            },
            "hierarchy": self.hierarchy and asdict(self.hierarchy),
            "recall_asked": self.recall_asked,
            "precision_at_recall": self.at_recall(),
            **{
                name: value and value.as_dict()
                for name, value in (
                    ("curve", self.curve),
                    ("text_only_curve", self.text_only_curve),
                    ("calibration", self.calibration),
                )
            },
        }

    def view(self, compared: Mapping[str, Audit] | None = None) -> dict[str, Any]:
        """Return what the report of a dataset shows, see `openmofi.dataset.write_report`.

        Args:
            compared: other selectors' audits on the same pairs, by name.
        """
        compared = compared or {}
        view: dict[str, Any] = {"audit": self, "compared": self.compare(compared), "curve": None, "calibration": None}
        if self.curve:
            named = {
                "labels (text and image)": self.curve,
                "text-only linker": self.text_only_curve,
                **{name: other.curve for name, other in compared.items()},
            }
            thin = {name: curve.shown() for name, curve in named.items() if curve}
            points = {
                name: (figures.recall, figures.precision)
                for name, figures in (
                    ("labels (text and image)", self.overall.labels),
                    ("text-only linker", self.overall.text_only),
                )
                if figures and figures.recall is not None and figures.precision is not None
            }
            view["curve"] = plots.precision_recall_curve(
                {name: (curve.recall.tolist(), curve.precision.tolist()) for name, curve in thin.items()},
                points,
                self.recall_asked,
            )
        if self.calibration:
            view["calibration"] = plots.calibration(
                self.calibration.expected.tolist(), self.calibration.observed.tolist(), self.calibration.counts.tolist()
            )
        return view


def audit(
    labels: str | Path,
    truth: str | Path,
    *,
    at_recall: float = 0.75,
    split: str | None = None,
    kb: KnowledgeBase | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Audit:
    """Compare labels, or a dataset, with the truth.

    Args:
        labels: a finished labels or dataset folder.
        truth: Parquet, CSV, TSV or JSON lines, with the columns `key` and `entity` (an identifier, or a name that
            means one entity; several as a list or as rows), and any of the others of `schema.TRUTH`. Without `shard`
            keys are matched over all shards.
        at_recall: the recall at which selectors are compared.
        split: use only the pairs of this split.
        kb: gives names of entities; by default the labels' own, where it still is as it was.
        resamples, seed: of the bootstrap.

    Raises:
        OpenMofiError: a folder or the truth cannot be read, they have no pair in common, or a name is ambiguous.
    """
    folder = Folder.open(labels)
    kb = kb or labels_kb(folder)
    joined = against(folder, truth, split, kb)
    measure = _Measure(joined, resamples, seed)
    with_text = folder.manifest.kind == "labels"
    groups = {name: measure.by_truth(name, with_text) for name in GROUPS if name in joined.known.column_names}
    if with_text:
        groups["detector"] = measure.by_mention(joined.detector, joined.detectors)
        if joined.kinds:
            groups["kind"] = measure.by_mention(joined.kind, joined.kinds)
    return Audit(
        rows=joined.rows,
        unmatched=joined.unmatched,
        overall=measure.beside(None, with_text),
        groups=groups,
        curve=measure.curve(joined.probability) if with_text else None,
        text_only_curve=measure.curve(joined.link_score) if with_text else None,
        calibration=measure.calibration() if with_text else None,
        recall_asked=at_recall,
        keys_unmatched=joined.keys_unmatched,
        examples=joined.examples,
        unknown_entities=joined.unknown_entities,
        hierarchy=beside_classes(joined, kb, resamples=resamples, seed=seed) if kb and kb.has_relations else None,
    )


@dataclass(frozen=True)
class _Measure:
    against: Against
    resamples: int
    seed: int

    def per_pair(self, which: Bools) -> Ints:
        """(pairs, 4) accepted, correct, named, found when the judged entities `which` are accepted."""
        named, chosen = self.against.named, np.flatnonzero(which)
        pair = self.against.pair[chosen]
        once = chosen[best_of_pairs(pair, self.against.entity[chosen], self.against.probability[chosen])]
        pair, size = self.against.pair[once], len(named)
        accepted = np.bincount(pair, minlength=size)
        correct = np.bincount(pair[self.against.correct[once]], minlength=size)
        recalled = np.bincount(pair[self.against.recalled[once]], minlength=size)
        return np.stack([accepted, correct, named, recalled], axis=1).astype(np.int64)

    def figures(self, which: Bools, pairs: Bools | None) -> Figures:
        counts = self.per_pair(which)
        return Figures.of(counts if pairs is None else counts[pairs], resamples=self.resamples, seed=self.seed)

    def beside(self, pairs: Bools | None, with_text: bool, judged: Bools | None = None) -> ComparedFigures:
        accepted, by_text = self.against.accepted, self.against.chosen_by_text
        if judged is not None:
            accepted, by_text = accepted & judged, by_text & judged
        return ComparedFigures(self.figures(accepted, pairs), self.figures(by_text, pairs) if with_text else None)

    def by_truth(self, name: str, with_text: bool) -> dict[str, ComparedFigures]:
        values = self.against.group(name)
        return {value: self.beside(values == value, with_text) for value in sorted(set(values.tolist()))}

    def by_mention(self, codes: Codes, names: Sequence[str]) -> dict[str, ComparedFigures]:
        """By what the mentions have: `codes` of the judged entities in `names`."""
        return {
            name: self.beside(None, True, codes == code)
            for name, code in sorted((name, code) for code, name in enumerate(names))
        }

    def curve(self, score: Floats) -> PrecisionRecallCurve:
        once = best_of_pairs(self.against.pair, self.against.entity, score)
        return PrecisionRecallCurve.of(
            score[once], self.against.correct[once], self.against.recalled[once], int(self.against.named.sum())
        )

    def calibration(self) -> CalibrationCurve:
        once = best_of_pairs(self.against.pair, self.against.entity, self.against.probability)
        return CalibrationCurve.of(self.against.probability[once], self.against.correct[once])


def _precision_at(curve: PrecisionRecallCurve | None, recall: float) -> float | None:
    point = curve.at_recall(recall) if curve else None
    return point[0] if point else None
