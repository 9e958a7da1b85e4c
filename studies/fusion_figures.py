"""What the fusion study shows, on its page and on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from openmofi.dataset.report.plots import bars
from openmofi.plugins.fusion.examples import SEEN, UNSEEN
from studies.report import Table, interval, number, print_end, signed, study_page, verdict

ROWS: Mapping[str, str] = {
    "select": "cross-encoder with fusion decoder and similarity",
    "select_no_prior": "the same, without the prior at answer time",
    "bi_encoder": "MiniLM bi-encoder, tuned",
    "bi_encoder_untrained": "MiniLM bi-encoder, untrained",
    "prior": "commonest sense",
}
ABLATION_ROWS: Mapping[str, str] = {
    "reference": "the whole model, as briefly trained",
    "no_similarity": "without the cosine of context and candidate",
    "no_description": "without descriptions",
    "generate": "generates the title instead of selecting",
}
GOAL_ROWS: Mapping[str, str] = {
    "over_biencoder": "accuracy above the untrained bi-encoder",
    "over_biencoder_tuned": "accuracy above the tuned bi-encoder",
    "shadowed": "accuracy on shadowed senses (gold is not the commonest)",
}
_HEADLINES = {
    "select": "accuracy",
    "select_no_prior": "no_prior",
    "bi_encoder": "biencoder_tuned",
    "bi_encoder_untrained": "biencoder",
    "prior": "prior",
}


def fusion_report(metrics: Mapping[str, Any]) -> str:
    """The page as HTML; equal figures give equal bytes.

    Args:
        metrics: see `studies.fusion.run_fusion`.
    """
    systems = metrics["splits"][UNSEEN]
    plot = bars({shown: systems[name]["accuracy"] for name, shown in ROWS.items()})
    sections = [
        (
            "Goals",
            _goals(metrics).html(),
            "Test mentions of lemmas that no system has seen in training. Intervals are "
            "95 %, bootstrapped over lemmas.",
        ),
        (
            "Systems",
            Markup("{}{}").format(_systems(metrics).html(), plot),
            "seen: other senses of lemmas that were trained on. Shadowed: the gold is not the commonest sense.",
        ),
        ("By number of candidates, unseen lemmas", _by_candidates(systems).html(), ""),
        (
            "Ablations, unseen lemmas",
            _ablations(metrics).html(),
            "Each is a short run; compare them with the first line, not with the systems above.",
        ),
        (
            "Training",
            _training(metrics).html(),
            "Systems are taken where they were best on the validation split, ablations at their last step.",
        ),
    ]
    return study_page(
        "OpenMOFI fusion decoder", "Which sense a word has: the fusion decoder on WordNet's examples", sections
    )


def print_fusion(out: object, metrics: Mapping[str, Any]) -> None:
    """Print systems, ablations and goals."""
    _systems(metrics).print("Mentions of lemmas that none has seen; 95 % over lemmas")
    _ablations(metrics).print("Ablations")
    _goals(metrics).print("Goals")
    print_end(out, metrics)


def _goals(metrics: Mapping[str, Any]) -> Table:
    rows = []
    for name, goal in metrics["goals"].items():
        edges = metrics["intervals"].get(name) or metrics["differences"][name]["difference_interval"]
        rows.append(
            (GOAL_ROWS[name], number(goal["found"]), interval(edges), f"≥ {goal['goal']:.2f}", verdict(goal["met"]))
        )
    return Table(("figure", "value", "95 %", "goal", ""), rows, numbers=(1, 2, 3))


def _systems(metrics: Mapping[str, Any]) -> Table:
    rows = []
    for name, shown in ROWS.items():
        unseen, seen = (metrics["splits"][split][name] for split in (UNSEEN, SEEN))
        rows.append(
            (
                shown,
                number(unseen["accuracy"]),
                interval(metrics["intervals"][_HEADLINES[name]]),
                number(unseen["shadowed"]),
                number(seen["accuracy"]),
                number(seen["shadowed"]),
            )
        )
    return Table(("system", "unseen", "95 %", "shadowed", "seen", "shadowed"), rows)


def _by_candidates(systems: Mapping[str, Any]) -> Table:
    buckets = systems["select"]["by_candidates"]
    rows = [
        (shown, *(number(systems[name]["by_candidates"][bucket]["accuracy"]) for bucket in buckets))
        for name, shown in ROWS.items()
    ]
    return Table(("candidates", *(f"{bucket} ({scores['mentions']:,})" for bucket, scores in buckets.items())), rows)


def _ablations(metrics: Mapping[str, Any]) -> Table:
    rows = []
    for name, value in metrics["ablations"].items():
        gap = metrics["differences"].get(f"ablations.{name}")
        rows.append(
            (
                ABLATION_ROWS[name],
                number(value),
                interval(metrics["intervals"][f"ablations.{name}"]),
                signed(gap["difference"]) if gap else "",
                interval(gap and gap["difference_interval"]),
            )
        )
    return Table(("model", "accuracy", "95 %", "difference", "95 %"), rows)


def _training(metrics: Mapping[str, Any]) -> Table:
    rows = [
        (
            ROWS.get(name) or ABLATION_ROWS.get(name, name),
            f"{run['steps']:,}",
            f"{run['examples_seen']:,}",
            f"{run['lr']:g}",
            f"{run['encoder_lr']:g}",
            number(run["best"] and run["best"]["value"]),
            f"{metrics['seconds'].get(f'train-{name}', 0.0):,.0f}",
        )
        for name, run in metrics["training"].items()
    ]
    return Table(("run", "steps", "examples seen", "rate", "encoder's rate", "validation", "seconds"), rows)
