"""Labels of outside pairs against the truth: a run's figures and errors, and those of all worlds together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openmofi.dataset.tables import Folder
from openmofi.knowledge import KnowledgeBase
from openmofi.review.verdicts import Verdicts
from studies.label_errors import (
    MISSED_KINDS,
    WRONG_KINDS,
    Kinship,
    LabelError,
    count_kinds,
    missed_entities,
    wrong_labels,
)
from studies.scoring import ScoredRow, Truth, label_figures, precision_figures, scored_rows


@dataclass(frozen=True)
class ScoredRun:
    """Labels against the truth.

    Attributes:
        labels: their folder.
        rows: those that were judged.
        figures: see `score_run`.
        wrong, missed: the errors on judged rows.
    """

    labels: Folder
    rows: Sequence[ScoredRow]
    figures: Mapping[str, Any]
    wrong: Sequence[LabelError]
    missed: Sequence[LabelError]


def score_run(
    labels: Folder,
    truth: Sequence[Truth],
    kb: KnowledgeBase,
    kinship: Kinship,
    verdicts: Verdicts | None = None,
) -> ScoredRun:
    """Score labels against the truth.

    Args:
        labels: of a finished job.
        truth: of some of its rows.
        kb: tells why an entity was missed.
        kinship: tells how a wrong label is related to a right one.
        verdicts: that the job was given, on some of the labels of these rows.

    Returns:
        The errors, and as figures those of `studies.scoring.label_figures`; `interval`, see `interval_of`; `errors`
        (kind → how many); `blind`, whether the job says that it cannot tell entities apart; `claimed`, what it says of
        the precision of all its labels; `unknown`, how many right entities the knowledge base does not have; the counts
        of the `job`. With verdicts `verdicts`, how many are `y`, `n` and `u`; `judged_are_scored`, as the labels
        that were looked at count in all figures but `without_judged`: those of `label_figures` where they are doubtful.
    """
    rows = scored_rows(labels, truth)
    wrong, missed = wrong_labels(rows, kinship), missed_entities(rows, kb)
    job = labels.manifest.counts
    claimed = job["verdicts"]["corrected_precision"] if "verdicts" in job else job["expected_precision"]
    figures = _figures(rows) | {
        "errors": {"wrong": count_kinds(wrong, WRONG_KINDS), "missed": count_kinds(missed, MISSED_KINDS)},
        "blind": bool(job["calibration"].get("blind", False)),
        "claimed": claimed,
        "unknown": sum(entity not in kb for row in rows for entity in row.truth.right),
        "job": job,
    }
    if verdicts:
        said = Counter(verdict.verdict for verdict in verdicts.verdicts)
        figures |= {
            "verdicts": {verdict: said[verdict] for verdict in ("y", "n", "u")},
            "judged_are_scored": True,
            "without_judged": _figures(_unjudged(rows, verdicts)),
        }
    return ScoredRun(labels, rows, figures, wrong, missed)


def _figures(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    figures = label_figures(rows)
    return figures | {"interval": interval_of(figures)}


def _unjudged(rows: Sequence[ScoredRow], verdicts: Verdicts) -> list[ScoredRow]:
    judged: dict[tuple[str, str], set[str]] = {}
    for verdict in verdicts.verdicts:
        judged.setdefault((verdict.shard, verdict.key), set()).add(verdict.entity)
    return [row.without(judged.get((row.truth.shard, row.truth.key), ())) for row in rows]


def interval_of(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of the precision that covers two: Wilson's, as few labels may all be right, and that over rows."""
    if not figures["accepted"]:
        return None
    (low, high), (lowest, highest) = figures["precision_wilson"], figures["precision_bootstrap"]
    return min(low, lowest), max(high, highest)


def together(runs: Mapping[str, Mapping[str, ScoredRun]]) -> dict[str, Any]:
    """Run → the precision of its labels over the judged rows of all worlds.

    Args:
        runs: world → run → its labels.
    """
    names = dict.fromkeys(name for of_world in runs.values() for name in of_world)
    rows = {name: [row for of_world in runs.values() for row in of_world[name].rows] for name in names}
    figures = {name: precision_figures(of_run) for name, of_run in rows.items()}
    return {name: of_run | {"interval": interval_of(of_run)} for name, of_run in figures.items()}
