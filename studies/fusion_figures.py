"""What `make fusion` shows: a small page with its figures beside their goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from openmofi.dataset import ReportSection
from openmofi.dataset.report.plots import bars
from openmofi.linking.corpora.wordnet import SEEN, UNSEEN
from openmofi.sample.figures import benchmark_page, html_table

ROWS: Mapping[str, str] = {
    "select": "fusion decoder", "bi_encoder": "MiniLM bi-encoder, tuned", "bi_encoder_untrained":
    "MiniLM bi-encoder, untrained", "prior": "commonest sense",
}
ABLATION_ROWS: Mapping[str, str] = {
    "reference": "the whole model, as briefly trained", "no_fusion": "without fusion: candidates one by one",
    "no_description": "without descriptions", "generate": "generates the title instead of selecting",
}
GOAL_ROWS: Mapping[str, str] = {
    "over_biencoder": "accuracy above the untrained bi-encoder", "over_biencoder_tuned":
    "accuracy above the tuned bi-encoder", "shadowed": "accuracy on shadowed senses (gold is not the commonest)",
}


def fusion_report(metrics: Mapping[str, Any]) -> str:
    """The page as HTML; equal figures give equal bytes.

    Args:
        metrics: see `sample.fusion.run_fusion`.
    """
    systems = metrics["splits"][UNSEEN]
    picture = bars({shown: systems[name]["accuracy"] for name, shown in ROWS.items()})
    sections = [
        ("Goals", goal_table(metrics), "Test mentions of lemmas that no system has seen in training. Intervals are "
         "95 %, bootstrapped over lemmas."),
        ("Systems", Markup("{}{}").format(_systems(metrics), picture), "seen: other senses of lemmas that were "
         "trained on. Shadowed: the gold is not the commonest sense."),
        ("By number of candidates, unseen lemmas", _by_candidates(systems), ""),
        ("Ablations, unseen lemmas", _ablations(metrics), "Each is a short run; compare them with the first line, not "
         "with the systems above."),
        ("Training", _training(metrics), "Systems are taken where they were best on the validation split, ablations at "
         "their last step."),
    ]
    return benchmark_page("OpenMOFI fusion decoder", "Which sense a word has: the fusion decoder on WordNet's examples",
                          [ReportSection(title, body, text) for title, body, text in sections])


def goal_table(metrics: Mapping[str, Any]) -> Markup:
    """The goals with what was found."""
    rows = []
    for name, goal in metrics["goals"].items():
        edges = metrics["intervals"].get(name) or metrics["differences"][name]["difference_interval"]
        rows.append((GOAL_ROWS[name], f"{goal['found']:.3f}", interval(edges), f"≥ {goal['goal']:.2f}", verdict(goal)))
    return html_table(("figure", "found", "95 %", "goal", ""), rows, right=(1, 2, 3))


def verdict(goal: Mapping[str, Any]) -> str:
    """Whether a goal is met."""
    return "met" if goal["met"] else "missed"


def interval(edges: Sequence[float]) -> str:
    """Both ends of an interval."""
    return f"{edges[0]:.3f}–{edges[1]:.3f}"


def _systems(metrics: Mapping[str, Any]) -> Markup:
    rows = []
    for name, shown in ROWS.items():
        unseen, seen = (metrics["splits"][split][name] for split in (UNSEEN, SEEN))
        rows.append((shown, f"{unseen['accuracy']:.3f}", _number(unseen["shadowed"]), f"{seen['accuracy']:.3f}",
                     _number(seen["shadowed"])))
    return html_table(("system", "unseen", "shadowed", "seen", "shadowed"), rows, right=(1, 2, 3, 4))


def _by_candidates(systems: Mapping[str, Any]) -> Markup:
    buckets = systems["select"]["by_candidates"]
    rows = [(ROWS[name], *(f"{systems[name]['by_candidates'][bucket]['accuracy']:.3f}" for bucket in buckets))
            for name in ROWS]
    head = ("candidates", *(f"{bucket} ({found['mentions']:,})" for bucket, found in buckets.items()))
    return html_table(head, rows, right=range(1, len(head)))


def _ablations(metrics: Mapping[str, Any]) -> Markup:
    rows = []
    for name, value in metrics["ablations"].items():
        gap = metrics["differences"].get(f"ablations.{name}")
        rows.append((ABLATION_ROWS[name], f"{value:.3f}", interval(metrics["intervals"][f"ablations.{name}"]),
                     "" if gap is None else f"{gap['difference']:+.3f}",
                     "" if gap is None else interval(gap["difference_interval"])))
    return html_table(("model", "accuracy", "95 %", "difference", "95 %"), rows, right=(1, 2, 3, 4))


def _training(metrics: Mapping[str, Any]) -> Markup:
    rows = [(ROWS.get(name) or ABLATION_ROWS.get(name, name), f"{found['steps']:,}", f"{found['examples_seen']:,}",
             f"{found['lr']:g}", f"{found['encoder_lr']:g}", _number(found["best"] and found["best"]["value"]),
             f"{metrics['seconds'].get(f'train-{name}', 0.0):,.0f}") for name, found in metrics["training"].items()]
    return html_table(("run", "steps", "examples seen", "rate", "encoder's rate", "validation", "seconds"), rows,
                      right=range(1, 7))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
