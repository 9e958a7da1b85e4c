"""What the demo's report and terminal show of the comparison of encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from openmofi.dataset import ReportSection
from openmofi.dataset.report.plots import bars
from openmofi.sample.figures import html_table
from studies.comparison import BASELINE, BEST

GAIN_GOAL = 0.15
ROWS: Mapping[str, str] = {
    "untrained": "no training: ImageNet's features", "alt_text": "contrastive on alt-texts (CLIP)",
    "entities": "contrastive on entities", "supervised": "supervised: margin softmax over entities",
    "multi_task": "multi-task (MOFI)",
}
_TITLES = {"retrieval": "What the entity labels bring: heads on cached features",
           "retrieval_full": "What the entity labels bring: trained end to end, mean of three seeds"}


def retrieval_sections(metrics: Mapping[str, Any]) -> list[ReportSection]:
    """A section for each comparison in `metrics.json`: the table, its bars, and the gain with its interval."""
    return [_section(title, metrics[name]) for name, title in _TITLES.items() if name in metrics]


def _section(title: str, found: Mapping[str, Any]) -> ReportSection:
    rows = [(ROWS[name], *figure_cells(found[name])) for name in ROWS]
    table = html_table(("encoder", "mAP, query excluded", "95 %", "mAP, query included", "zero-shot", "95 %"), rows,
                       right=(1, 2, 3, 4, 5))
    picture = bars({ROWS[name]: found[name]["map_excl_query"] for name in ROWS})
    return ReportSection(title, Markup("{}<p>{}</p>{}").format(table, gain_sentence(found), picture),
                         "Retrieval of other artists' images of the same entity, and naming of entities, all of them "
                         "held out: no encoder saw an image of them. Same first weights, same pages, same number of "
                         "images. Intervals are bootstrapped over entities. The query-included figure follows GPR1200.")


def figure_cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """MAP without the query, its interval, mAP with it, zero-shot accuracy, its interval; as text."""
    return (_number(figures["map_excl_query"]), _interval(figures["map_excl_query_interval"]),
            _number(figures["map_incl_query"]), _number(figures["zero_shot"]),
            _interval(figures["zero_shot_interval"]))


def gain_sentence(found: Mapping[str, Any]) -> str:
    """Multi-task against the alt-text baseline, beside the goal."""
    gain = found["gain"][BEST]
    low, high = gain["gain_interval"]
    verdict = "met" if gain["gain"] >= GAIN_GOAL else "missed"
    return (f"Multi-task over {ROWS[BASELINE]}: {gain['gain']:+.1%} mAP, query excluded ({low:+.1%} to {high:+.1%}; "
            f"goal {GAIN_GOAL:+.0%}: {verdict}).")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(edges: tuple[float, float] | None) -> str:
    return "" if edges is None else f"{edges[0]:.3f}–{edges[1]:.3f}"
