"""What the demo's report shows beside the dataset's own pages: its figures, maybe beside goals, and its seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from openmofi.dataset import ReportSection

_STEPS: Mapping[str, str] = {
    "fetch": "artwork and names from the package registries",
    "world": "artwork drawn onto pages",
    "kb": "knowledge base",
    "read": "pages decoded, mentions found and linked, backbone's image features",
    "encoders": "both pairs of heads trained",
    "label-labels": "training pages labelled",
    "label-labels-heldout": "held-out pages labelled",
    "label-labels-alt-text": "training pages labelled with the contrastive encoder",
    "training": "heads on cached features: tuned, trained with three seeds, measured",
    "training-full": "encoders end to end, three seeds",
    "dataset": "near duplicates, minimum, vocabulary",
    "audit": "labels compared with the truth",
    "search": "held-out pages and entities indexed; searches that end compared with the truth",
}
_LABELS: Mapping[str, str] = {
    "precision": "accepted labels that are true, training pages",
    "recall": "pages naming their entity that were given it",
    "ambiguous_precision": "pages whose name has several entities",
    "ambiguous_recall": "the same pages",
    "heldout_precision": "other images of known entities; nothing was fitted on their pages",
    "heldout_recall": "the same pages",
    "heldout_ambiguous_precision": "of these, pages whose name has several entities",
    "heldout_ambiguous_recall": "the same pages",
    "text_only_precision": "linker that sees no image, at recall {}",
    "alt_text_encoder_precision": "encoder trained on the captions as they are, at recall {}",
    "expected_precision": "what the job itself expects, without any truth",
}


def head_figures(labels: Mapping[str, Any]) -> dict[str, str]:
    """The demo's figures for the head of the report; precision and recall of all pages stand there already.

    Args:
        labels: `labels` of `metrics.json`.
    """
    return {
        "precision, ambiguous names": _percent(labels["ambiguous_precision"]),
        "precision, held-out pages": _percent(labels["heldout_precision"]),
        "precision, text only, at the same recall": _percent(labels["text_only_precision"]),
        "precision, plain contrastive, at the same recall": _percent(labels["alt_text_encoder_precision"]),
    }


def figures_section(metrics: Mapping[str, Any], goals: Mapping[str, float] | None = None) -> ReportSection:
    """All figures of `metrics.json` but the seconds, under their names there.

    Args:
        metrics: what `metrics.json` holds.
        goals: name of a figure → the least that it should reach; each then stands beside its figure.
    """
    labels, goals = metrics["labels"], goals or {}
    rows = [
        (
            Markup("<code>labels.{}</code>").format(name),
            meaning.format(_percent(labels["recall"])),
            _percent(labels[name]),
            *_goal(labels[name], goals.get(f"labels.{name}")),
        )
        for name, meaning in _LABELS.items()
    ]
    gap = metrics["search"]["calibrated_gap"]
    rows.append(
        (
            Markup("<code>search.calibrated_gap</code>"),
            "searches by entity over held-out pages: largest |found − expected| precision of lists that end",
            _percent(gap),
            "≤ 5%",
            "–" if gap is None else "met" if gap <= 0.05 else "missed",
        )
    )
    equal = ("= rows in", "met" if metrics["rows_out"] == metrics["rows_in"] else "missed")
    rows += [
        (Markup("<code>{}</code>").format(name), meaning, f"{metrics[name]:,}", *goal)
        for name, meaning, goal in (
            ("pairs", "image–text pairs of the training pages", ("", "")),
            ("rows_in", "pairs read", ("", "")),
            ("rows_out", "rows of labels written, each with a status", equal),
        )
    ]
    head = ("figure", "what it is", "value", "goal", "")[: 5 if goals else 3]
    return ReportSection(
        "Figures and goals" if goals else "Figures",
        html_table(head, [row[: len(head)] for row in rows], right=(2, 3)),
        "Named as in metrics.json. Pages are web pages of the sample world: an image and its text.",
    )


def seconds_section(seconds: Mapping[str, float]) -> ReportSection:
    """What each step took, in the order of the steps; this one part of the report differs from run to run."""
    rows = [
        (Markup("<code>{}</code>").format(f"seconds.{step}"), _STEPS.get(step, ""), f"{seconds[step]:,.1f}")
        for step in sorted(seconds, key=lambda step: list(_STEPS).index(step) if step in _STEPS else len(_STEPS))
    ]
    rows.append(
        (Markup("<b>all</b>"), "a step that was stopped and went on counts whole", f"{sum(seconds.values()):,.1f}")
    )
    return ReportSection(
        "Seconds",
        html_table(("step", "what it does", "seconds"), rows, right=(2,)),
        "Measured by the demo, before it wrote this report.",
    )


def _goal(value: float | None, goal: float | None) -> tuple[str, str]:
    if goal is None:
        return "", ""
    return f"≥ {goal:.0%}", "met" if value is not None and value >= goal else "missed"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int]) -> Markup:
    """A table for a report; text is escaped. `right`: columns of numbers."""

    def line(tag: str, cells: Sequence[str]) -> Markup:
        return Markup("<tr>{}</tr>\n").format(
            Markup("").join(
                Markup("<{tag}{side}>{cell}</{tag}>").format(
                    tag=tag, side=Markup(' class="r"') if position in right else "", cell=cell
                )
                for position, cell in enumerate(cells)
            )
        )

    return Markup("<table>\n{}</table>").format(Markup("").join([line("th", head), *(line("td", row) for row in rows)]))
