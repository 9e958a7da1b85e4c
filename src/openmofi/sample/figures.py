"""What the demo's report shows beside the dataset's own pages: its figures beside their goals, and its seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from openmofi.dataset import ReportSection

PRECISION_GOAL, RECALL_GOAL, AMBIGUOUS_GOAL = 0.90, 0.75, 0.80

_STEPS: Mapping[str, str] = {
    "fetch": "pictures and names from the package registries", "world": "pictures drawn onto pages",
    "kb": "knowledge base", "read": "pages decoded, mentions found and linked, backbone's image features",
    "encoders": "both pairs of heads trained", "label-labels": "training pages labelled",
    "label-labels-heldout": "held-out pages labelled",
    "label-labels-alt-text": "training pages labelled with the contrastive encoder",
    "training": "the comparison's encoders on cached features, and retrieval by each",
    "training-full": "the same end to end, three seeds",
    "dataset": "near duplicates, minimum, vocabulary", "audit": "labels compared with the truth",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>body {{ font:15px/1.5 system-ui,sans-serif; color:#1f2933; max-width:900px; margin:32px auto; padding:0 24px; }}
table {{ border-collapse:collapse; width:100%; }} th {{ text-align:left; color:#5d6b7a; font-size:13px; }}
td, th {{ border-bottom:1px solid #e4e8ee; padding:6px 10px 6px 0; }} .r {{ text-align:right; }}
svg {{ max-width:100%; height:auto; }} p {{ color:#5d6b7a; }}</style></head><body>
<h1>{heading}</h1>
{body}
</body></html>
"""


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


def figures_section(metrics: Mapping[str, Any]) -> ReportSection:
    """All figures of `metrics.json` but the seconds, each with its name there, its goal and whether it is met."""
    labels = metrics["labels"]
    recall = f"at recall {_percent(labels['recall'])}"
    rows = [
        ("labels.precision", "accepted labels that are true, training pages", labels["precision"], PRECISION_GOAL),
        ("labels.recall", "pages naming their entity that were given it", labels["recall"], RECALL_GOAL),
        ("labels.ambiguous_precision", "pages whose name has several entities", labels["ambiguous_precision"],
         AMBIGUOUS_GOAL),
        ("labels.ambiguous_recall", "the same pages", labels["ambiguous_recall"], None),
        ("labels.heldout_precision", "other pictures of known entities; nothing was fitted on their pages",
         labels["heldout_precision"], PRECISION_GOAL),
        ("labels.heldout_recall", "the same pages", labels["heldout_recall"], RECALL_GOAL),
        ("labels.heldout_ambiguous_precision", "of these, pages whose name has several entities",
         labels["heldout_ambiguous_precision"], AMBIGUOUS_GOAL),
        ("labels.heldout_ambiguous_recall", "the same pages", labels["heldout_ambiguous_recall"], None),
        ("labels.text_only_precision", f"linker that sees no picture, {recall}", labels["text_only_precision"], None),
        ("labels.alt_text_encoder_precision", f"encoder trained on the captions as they are, {recall}",
         labels["alt_text_encoder_precision"], None),
        ("labels.expected_precision", "what the job itself expects, without any truth", labels["expected_precision"],
         None),
    ]
    body = [(Markup("<code>{}</code>").format(name), meaning, _percent(value),
             "" if goal is None else f"≥ {goal:.0%}", _verdict(value, goal)) for name, meaning, value, goal in rows]
    body += [(Markup("<code>{}</code>").format(name), meaning, f"{metrics[name]:,}", goal, verdict)
             for name, meaning, goal, verdict in (
        ("pairs", "image–text pairs of the training pages", "", ""),
        ("rows_in", "pairs read", "", ""),
        ("rows_out", "rows of labels written, each with a status", "= rows in",
         "met" if metrics["rows_out"] == metrics["rows_in"] else "missed"))]
    head = ("figure", "what it is", "found", "goal", "")
    return ReportSection("Figures and goals", html_table(head, body, right=(2, 3)),
                         "Named as in metrics.json. Pages are web pages of the sample world: a picture and its text.")


def seconds_section(seconds: Mapping[str, float]) -> ReportSection:
    """What each step took, in the order of the steps; this one part of the report differs from run to run."""
    rows = [(Markup("<code>{}</code>").format(f"seconds.{step}"), _STEPS.get(step, ""), f"{seconds[step]:,.1f}")
            for step in sorted(seconds, key=lambda step: (list(_STEPS).index(step) if step in _STEPS else len(_STEPS)))]
    rows.append((Markup("<b>all</b>"), "a step that was stopped and went on counts whole",
                 f"{sum(seconds.values()):,.1f}"))
    return ReportSection("Seconds", html_table(("step", "what it does", "seconds"), rows, right=(2,)),
                         "Measured by the demo, before it wrote this report.")


def _verdict(value: float | None, goal: float | None) -> str:
    if goal is None:
        return ""
    return "met" if value is not None and value >= goal else "missed"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int]) -> Markup:
    """A table for a report; text is escaped. `right`: columns of numbers."""
    def line(tag: str, cells: Sequence[str]) -> Markup:
        return Markup("<tr>{}</tr>\n").format(Markup("").join(
            Markup('<{tag}{side}>{cell}</{tag}>').format(
                tag=tag, side=Markup(' class="r"') if position in right else "", cell=cell)
            for position, cell in enumerate(cells)))

    return Markup("<table>\n{}</table>").format(Markup("").join([line("th", head), *(line("td", row) for row in rows)]))


def benchmark_page(title: str, heading: str, sections: Sequence[ReportSection]) -> str:
    """A benchmark's report as HTML: a small page that asks the network for nothing.

    Args:
        title: of the page.
        heading: at its top.
        sections: in order; see `ReportSection`.
    """
    body = Markup("\n").join(Markup("<h2>{}</h2>\n<p>{}</p>\n{}").format(
        section.title, section.text, Markup(section.body)) for section in sections)
    return str(Markup(_PAGE).format(title=title, heading=heading, body=body))
