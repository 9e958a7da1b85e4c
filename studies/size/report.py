"""The page of the size study: curves with intervals, and the figures below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from openmofi.dataset.report.examples import template
from openmofi.dataset.report.plots import COLOURS, draw
from studies.size.values import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES: Mapping[str, str] = {"alt_text": "alt-text", "entities": "entities"}
NAMES: Mapping[str, str] = {"map": "mAP, query excluded", "zero_shot": "zero-shot accuracy"}
_CURVES: Mapping[str, str] = {"steps": "equal steps", "epochs": "equal epochs", "noise": "equal number of pairs"}


def size_page(metrics: Mapping[str, Any]) -> str:
    """`report.html` of what `metrics.json` holds; equal metrics give equal bytes."""
    signed = "{:+.3f}".format
    page = template(__package__, "size.html.j2", number=_number, interval=_interval, signed=signed)
    shown = {
        name: {
            "facts": found,
            "match": matching_pairs(found),
            "plots": _plots(found),
            "curves": {curve: found[curve] for curve in _CURVES if curve in found},
        }
        for name, found in metrics["datasets"].items()
    }
    return page.render(metrics=metrics, datasets=shown, methods=TITLES, names=NAMES, curves=_CURVES)


def matching_pairs(dataset: Mapping[str, Any], metric: str = "map") -> Mapping[str, int | None]:
    """Curve of sizes → the fewest pairs with which entities reach what alt-text reaches on all of them, if any do."""
    found = {}
    for curve in ("steps", "epochs"):
        if points := dataset.get(curve):
            goal = points[-1]["alt_text"].get(metric, {}).get("mean")
            found[curve] = next(
                (point["pairs"] for point in points if goal is not None and point["entities"][metric]["mean"] >= goal),
                None,
            )
    return found


def _plots(dataset: Mapping[str, Any]) -> list[Markup]:
    plots = []
    for metric in METRICS:
        for curves, along, title in (
            (("steps", "epochs"), "pairs", "pairs trained on"),
            (("noise",), "threshold", "least probability of a label"),
        ):
            lines = _lines(dataset, curves, along, metric)
            if lines:
                ticks = {x: f"{x:,}" if along == "pairs" else f"{x:g}" for x in lines[0].x}
                plots.append(interval_lines(lines, title, NAMES[metric], ticks=ticks, logarithmic=along == "pairs"))
    return plots


def _lines(dataset: Mapping[str, Any], curves: Sequence[str], along: str, metric: str) -> list[Line]:
    return [
        Line(
            f"{TITLES[method]}, {_CURVES[curve]}",
            [point[along] for point in points],
            [point[method][metric]["mean"] for point in points],
            [point[method][metric]["interval"] for point in points],
            colour,
            dashed=curve == "epochs",
        )
        for colour, method in enumerate(TITLES)
        for curve in curves
        if (points := dataset.get(curve))
        if metric in points[0][method]
    ]


@dataclass(frozen=True)
class Line:
    """A line of `interval_lines`.

    Attributes:
        name: in the legend.
        x, y: of its points.
        intervals: of each y.
        colour: position in `COLOURS`.
        dashed: how it is drawn.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    intervals: Sequence[Sequence[float]]
    colour: int = 0
    dashed: bool = False


def interval_lines(
    lines: Sequence[Line], horizontal: str, vertical: str, *, ticks: Mapping[float, str], logarithmic: bool = False
) -> Markup:
    """Lines with their intervals as bands.

    Args:
        lines: see there.
        horizontal, vertical: titles of the axes; the vertical one also salts the identifiers of the SVG.
        ticks: x → its name.
        logarithmic: the horizontal axis.
    """

    def paint(axes: Axes) -> None:
        for line in lines:
            colour, lows, highs = COLOURS[line.colour % len(COLOURS)], *zip(*line.intervals, strict=True)
            axes.plot(
                line.x,
                line.y,
                color=colour,
                linewidth=2,
                marker="o",
                markersize=5,
                label=line.name,
                linestyle=(0, (4, 3)) if line.dashed else "-",
            )
            axes.fill_between(line.x, lows, highs, color=colour, alpha=0.07 if line.dashed else 0.13, linewidth=0)
        axes.set(xlabel=horizontal, ylabel=vertical, xscale="log" if logarithmic else "linear")
        axes.minorticks_off()
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9)

    return draw(f"interval-lines-{horizontal}-{vertical}", paint, (6.4, 4.4))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(edges: Sequence[float]) -> str:
    return f"{edges[0]:.3f}–{edges[1]:.3f}"
