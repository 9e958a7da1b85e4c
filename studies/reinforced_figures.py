"""What `make reinforced` shows: a small page with its figures beside their goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from openmofi.dataset import ReportSection
from openmofi.dataset.report.plots import bars
from openmofi.sample.figures import benchmark_page, html_table
from studies.comparison_figures import figure_cells
from studies.reinforced_images import ReplayedSample

STUDENT_ROWS: Mapping[str, str] = {
    "reinforced": "reinforced: entities and stored teachers",
    "reinforced_contrastive": "reinforced: alt-texts and stored teachers",
    "multi_task": "multi-task on entities (MOFI)", "contrastive": "contrastive on alt-texts (CLIP)",
}
TEACHER_ROWS: Mapping[str, str] = {
    "multi_task": "teacher: the demo's multi-task encoder", "partial-labels": "teacher: the label job's encoder",
}
GOAL_ROWS: Mapping[str, str] = {
    "over_contrastive": "reinforced over contrastive: relative gain in mAP, query excluded",
    "over_multi_task": "reinforced over multi-task: difference in mAP, query excluded",
}
_GOAL_FIGURES = {"over_contrastive": ("reinforced_over_contrastive", "gain_interval"),
                 "over_multi_task": ("reinforced_over_multi_task", "difference_interval")}
_SHORT = {"multi_task": "multi-task", "reinforced_contrastive": "reinforced contrastive"}
_METRICS = {"map_excl_query": "mAP, query excluded", "zero_shot": "zero-shot"}
_STEPS: Mapping[str, str] = {
    "demo": "what of the demo was missing", "scales": "the teachers' scales", "store": "what the teachers know",
    "students": "all students, side by side", "evaluation": "retrieval and zero-shot of students and teachers",
}


def reinforced_report(metrics: Mapping[str, Any], samples: Sequence[ReplayedSample]) -> str:
    """The page as HTML; equal figures give equal bytes.

    Args:
        metrics: see `sample.reinforced.run_reinforced`.
        samples: of the store.
    """
    shown = encoder_rows(metrics)
    picture = bars({name: figures["map_excl_query"] for name, figures in shown.items()})
    sections = [
        ReportSection("Goals", _goals(metrics), "Retrieval of other artists' images of the same entity; no encoder "
                      "saw an image of these entities. Intervals are 95 %, bootstrapped over entities."),
        ReportSection("Encoders", Markup("{}{}").format(_encoders(shown), picture), "Students are of one image tower "
                      "from scratch, with the same first weights, pages and number of images seen. Teachers are "
                      "heads over a backbone with ImageNet's weights, and see images at its size."),
        ReportSection("Differences", _differences(metrics), "Paired: the same entities are drawn for both."),
        ReportSection("Training", _training(metrics), "Rows known: share of the last interval's images that the store "
                      "knew."),
        ReportSection("Teachers' scales", _scales(metrics), "The factor on a teacher's cosines, tuned on the last "
                      "shards of training pages, which the teachers were trained on too."),
        ReportSection("What storing does to the teachers' similarities", _fidelity(metrics), _store_sentence(metrics)),
        ReportSection("Samples of the store", _samples(samples), "The page's image, then its augmentations as a "
                      "student sees them."),
        ReportSection("Seconds", _seconds(metrics), "A step that was stopped and went on counts whole."),
    ]
    return benchmark_page("OpenMOFI reinforced training", "Small encoders, with and without teachers' stored knowledge",
                          sections)


def encoder_rows(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Figures of students, then teachers, under the names that are shown."""
    return {**{shown: metrics[name] for name, shown in STUDENT_ROWS.items()},
            **{shown: metrics["teachers"][name] for name, shown in TEACHER_ROWS.items()}}


def goal_cells(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """A row a goal: what it is, what was found, its interval, the goal, whether it is met."""
    rows = []
    for name, goal in metrics["goals"].items():
        pair, interval = _GOAL_FIGURES[name]
        low, high = metrics["differences"][pair]["map_excl_query"][interval]
        relative = interval == "gain_interval"
        found, low, high, wanted = (_signed(value, relative) for value in (goal["found"], low, high, goal["goal"]))
        rows.append((GOAL_ROWS[name], found, f"{low} to {high}", f"≥ {wanted}" if relative else "above 0",
                     "met" if goal["met"] else "missed"))
    return rows


def _goals(metrics: Mapping[str, Any]) -> Markup:
    return html_table(("figure", "found", "95 %", "goal", ""), goal_cells(metrics), right=(1, 2, 3))


def _encoders(shown: Mapping[str, Mapping[str, Any]]) -> Markup:
    rows = [(name, *figure_cells(figures)) for name, figures in shown.items()]
    return html_table(("encoder", "mAP, query excluded", "95 %", "mAP, query included", "zero-shot", "95 %"), rows,
                      right=(1, 2, 3, 4, 5))


def _differences(metrics: Mapping[str, Any]) -> Markup:
    rows = []
    for pair, found in metrics["differences"].items():
        ours, theirs = pair.split("_over_")
        for metric, title in _METRICS.items():
            one = found[metric]
            low, high = (_signed(edge, False) for edge in one["difference_interval"])
            rows.append((f"{_SHORT.get(ours, ours)} over {_SHORT.get(theirs, theirs)}", title,
                         _signed(one["difference"], False), f"{low} to {high}", _signed(one["gain"], True)))
    return html_table(("encoders", "figure", "difference", "95 %", "relative"), rows, right=(2, 3, 4))


def _training(metrics: Mapping[str, Any]) -> Markup:
    rows = [(STUDENT_ROWS[name], f"{run['steps']:,}", f"{run['images_seen']:,}", f"{run['lr']:g}",
             f"{run['images_per_s']:,.0f}", "" if run["known"] is None else f"{run['known']:.1%}")
            for name, run in metrics["training"].items()]
    return html_table(("student", "steps", "images seen", "rate", "images/s", "rows known"), rows, right=range(1, 6))


def _scales(metrics: Mapping[str, Any]) -> Markup:
    rows = [(TEACHER_ROWS[name], f"{found['scale']:.1f}", found["scale_from"], f"{found['own_scale']:.1f}",
             f"{found['tuned']['cross_entropy']:.3f}", f"{found['tuned']['accuracy']:.1%}",
             f"{found['tuned']['pairs']:,}") for name, found in metrics["teachers"].items()]
    return html_table(("teacher", "scale", "from", "in its own training", "cross-entropy", "right", "pairs"), rows,
                      right=(1, 3, 4, 5, 6))


def _fidelity(metrics: Mapping[str, Any]) -> Markup:
    store = metrics["store"]
    rows = [(TEACHER_ROWS[teacher], f"{precision} (stored)" if precision == store["precision"] else precision,
             f"{found['kl']:.2e}", f"{found['absolute']:.2e}")
            for teacher, precisions in store["fidelity"].items() for precision, found in precisions.items()]
    return html_table(("teacher", "precision", "KL, nats", "mean |difference|"), rows, right=(2, 3))


def _store_sentence(metrics: Mapping[str, Any]) -> str:
    store = metrics["store"]
    settings = store["settings"]
    return (f"{store['status']['ok']:,} of {store['rows']:,} pages, {settings['augmentations']} augmentations of "
            f"{settings['size']} px and {settings['captions']} synthetic texts each, "
            f"{store['bytes_per_sample']:,} bytes a sample. "
            f"{store['own_texts']:,} pages have no accepted entity: their own text stands in. Measured over "
            f"{store['fidelity_samples']:,} samples.")


def _samples(samples: Sequence[ReplayedSample]) -> Markup:
    blocks = []
    for sample in samples:
        pictures = Markup("\n").join(Markup('<img src="{}" alt="" height="96">').format(uri)
                                     for uri in (sample.picture, *sample.augmentations))
        texts = Markup("").join(Markup("<li>{}</li>").format(text) for text in sample.texts)
        blocks.append(Markup("<div>{}<p>{}</p><ul>{}</ul></div>").format(pictures, sample.text, texts))
    return Markup("\n").join(blocks)


def _seconds(metrics: Mapping[str, Any]) -> Markup:
    rows = [(_STEPS.get(step, "all"), f"{took:,.0f}") for step, took in metrics["seconds"].items()]
    return html_table(("step", "seconds"), rows, right=(1,))


def _signed(value: float, relative: bool) -> str:
    return f"{value:+.1%}" if relative else f"{value:+.3f}"
