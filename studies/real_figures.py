"""What the study of real pairs shows: figures beside each other, calibration, errors with their images."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from openmofi.dataset.report.examples import thumbnails
from openmofi.dataset.report.plots import calibration
from openmofi.dataset.tables import Folder
from openmofi.knowledge import KnowledgeBase
from studies.label_errors import MISSED_KINDS, WRONG_KINDS, LabelError
from studies.report import Table, interval, number, print_end, signed, study_page

RUN_ROWS: Mapping[str, str] = {"default": "defaults", "adapt": "--adapt"}
_FIGURES: Mapping[str, tuple[str, str]] = {
    "precision": ("precision", "bootstrap"),
    "expected": ("expected precision", ""),
    "row_recall": ("recall, rows", "wilson"),
    "recall": ("recall, entities", ""),
    "average_precision": ("average precision", "bootstrap"),
}
"""Figure → how it is shown, and which interval it has."""
_EXAMPLES, _TEXT, _BEFORE = 12, 260, 90
_STYLE = Markup("""<style>
.two, .cases { display:grid; grid-template-columns:repeat(auto-fit,minmax(400px,1fr)); gap:14px; }
.case { display:grid; grid-template-columns:104px 1fr; gap:12px; border:1px solid #e4e8ee; border-radius:8px;
  padding:10px; overflow-wrap:anywhere; }
.case img { width:104px; height:104px; object-fit:contain; background:#fff; }
.case p { margin:4px 0 0; font-size:13px; } .case small { color:#a05a12; } h3 { margin:18px 0 8px; font-size:15px; }
mark { background:#fdebd3; }
</style>""")


@dataclass(frozen=True)
class ScoredRun:
    """Labels against the truth.

    Attributes:
        labels: their folder.
        figures: see `studies.real.score_run`.
        wrong, missed: the errors on judged rows.
    """

    labels: Folder
    figures: Mapping[str, Any]
    wrong: Sequence[LabelError]
    missed: Sequence[LabelError]


def real_report(metrics: Mapping[str, Any], runs: Mapping[str, ScoredRun], kb: KnowledgeBase) -> str:
    """The page as HTML; equal labels give equal bytes but for the seconds.

    Args:
        metrics: see `studies.real.run_real`.
        runs: name, as in `RUN_ROWS`, → its labels and errors.
        kb: names the entities.
    """
    sections = [
        ("Labels against the truth", _STYLE + _figures(metrics).html(), _lead(metrics)),
        (
            "Calibration",
            _calibration(metrics),
            "All candidates of the judged rows, in bins by the probability that "
            "they were given: the share that is right, with 95 % intervals (Wilson).",
        ),
        (
            "Errors by kind",
            Markup("<br>").join(
                _kinds(metrics, side, kinds).html()
                for side, kinds in (("wrong", WRONG_KINDS), ("missed", MISSED_KINDS))
            ),
            "As far as it can be told automatically; an error has the first kind that holds.",
        ),
    ]
    for name, run in runs.items():
        for title, errors, kinds in (
            ("Wrong labels", run.wrong, WRONG_KINDS),
            ("Missed entities", run.missed, MISSED_KINDS),
        ):
            shown = random.Random(0).sample(list(errors), min(_EXAMPLES, len(errors)))
            sections.append(
                (
                    f"{title}, {RUN_ROWS[name]}",
                    _cases(shown, kinds, run.labels, kb),
                    f"{len(shown)} of {len(errors)}, drawn at random.",
                )
            )
    sections.append(
        (
            "Seconds",
            Table(
                ("step", "seconds"), [(step, f"{seconds:,.0f}") for step, seconds in metrics["seconds"].items()]
            ).html(),
            "A step that was stopped and went on counts whole.",
        )
    )
    return study_page("OpenMOFI on real pairs", "Openclipart's drawings, labelled by their own texts", sections)


def print_real(out: object, metrics: Mapping[str, Any]) -> None:
    """Print the figures and the kinds of errors."""
    _figures(metrics).print("Openclipart, judged rows; 95 % over rows")
    _kinds(metrics, "wrong", WRONG_KINDS).print("Wrong labels")
    _kinds(metrics, "missed", MISSED_KINDS).print("Missed entities")
    print_end(out, metrics)


def _lead(metrics: Mapping[str, Any]) -> str:
    run = metrics["default"]
    return (
        f"{run['job']['rows_in']:,} drawings of Openclipart with their titles, descriptions and keywords; "
        f"{run['rows']} of them were judged by hand. An entity counts once a row, doubtful ones are left out. "
        "Recall of rows: those with something right that were given something right. Average precision is over all "
        "candidates. Intervals are 95 %: of precision and average precision bootstrapped over rows, of recall "
        "Wilson's."
    )


def _figures(metrics: Mapping[str, Any]) -> Table:
    runs = [metrics[name] for name in RUN_ROWS]
    rows = [("accepted labels", *(cell for run in runs for cell in (f"{run['accepted']:,}", "")))]
    rows += [
        (shown, *(cell for run in runs for cell in (number(run[name]), interval(run.get(f"{name}_{by}")))))
        for name, (shown, by) in _FIGURES.items()
    ]
    gaps = (signed(run["precision"] - run["expected"]) if run["accepted"] else "–" for run in runs)
    rows.append(("precision − expected", *(cell for gap in gaps for cell in (gap, ""))))
    return Table(("", *(head for shown in RUN_ROWS.values() for head in (shown, "95 %"))), rows)


def _calibration(metrics: Mapping[str, Any]) -> Markup:
    plots = []
    for name, shown in RUN_ROWS.items():
        bins = metrics[name]["calibration"]
        drawn = calibration(
            bins["expected"], bins["observed"], bins["counts"], list(zip(bins["low"], bins["high"], strict=True))
        )
        plots.append(Markup("<div><h3>{}</h3>{}</div>").format(shown, drawn))
    return Markup('<div class="two">{}</div>').format(Markup("").join(plots))


def _kinds(metrics: Mapping[str, Any], side: str, kinds: Mapping[str, str]) -> Table:
    rows = [
        (meaning, *(str(metrics[name]["errors"][side][kind]) for name in RUN_ROWS)) for kind, meaning in kinds.items()
    ]
    return Table((f"{side}, because", *RUN_ROWS.values()), rows)


def _cases(errors: Sequence[LabelError], kinds: Mapping[str, str], labels: Folder, kb: KnowledgeBase) -> Markup:
    images = {
        (shard.name, key): uri
        for shard in labels.shards
        for key, uri in thumbnails(
            shard, {error.row.truth.key for error in errors if error.row.truth.shard == shard.name}
        ).items()
    }
    cases = [
        Markup(
            '<div class="case"><img src="{}" alt=""><div><b>{}</b>{}<br><small>{}</small><p>{}</p></div></div>'
        ).format(
            images.get((error.row.truth.shard, error.row.truth.key), ""),
            *_described(error, kb),
            kinds[error.kind],
            _text(error),
        )
        for error in errors
    ]
    return Markup('<div class="cases">{}</div>').format(Markup("\n").join(cases))


def _described(error: LabelError, kb: KnowledgeBase) -> tuple[str, str]:
    """The entity's name; its description and probability."""
    known, candidate = kb.entity(kb.row(error.entity)), error.row.candidates.get(error.entity)
    description = f": {known.description[:80]}" if known.description else ""
    return known.name, description + (f" ({candidate.probability:.2f})" if candidate else "")


def _text(error: LabelError) -> Markup:
    """The text around the entity's first mention, which is marked."""
    text, candidate = error.row.text, error.row.candidates.get(error.entity)
    if candidate is None:
        return Markup("{}").format(text[:_TEXT] + "…" * (len(text) > _TEXT))
    mention = error.row.mentions[min(candidate.mentions)]
    start, end = mention["start"], mention["end"]
    first = max(0, start - _BEFORE)
    last = max(end, first + _TEXT)
    return Markup("{}{}<mark>{}</mark>{}{}").format(
        "…" * (first > 0), text[first:start], text[start:end], text[end:last], "…" * (last < len(text))
    )
