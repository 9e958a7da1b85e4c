"""Plots as inline SVG. Equal data gives equal bytes; the SVG has no scripts and loads nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:  # half a second, which only who draws has to wait
    from matplotlib.axes import Axes

INK, SOFT = "#1f2933", "#697586"
COLOURS = ("#0b7a75", "#d9822b", "#7157d9", "#c23b5a", "#4a6fa5", "#6b7c32")

Points = tuple[Sequence[float], Sequence[float]]

_STYLE = Path(__file__).with_name("plots.mplstyle")


def draw(name: str, paint: Callable[[Axes], None], size: tuple[float, float]) -> Markup:
    """The plot that `paint` draws, `size` in inches; `name` salts the identifiers of the SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    style = matplotlib.rc_params_from_file(_STYLE, use_default_template=False)
    with matplotlib.rc_context({**style, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return Markup(svg[svg.index("<svg") :])


def precision_recall_curve(
    curves: Mapping[str, Points],
    points: Mapping[str, tuple[float, float]] | None = None,
    at_recall: float | None = None,
) -> Markup:
    """Precision over recall, one line a curve.

    Args:
        curves: name → (recall, precision), in order of rising recall; a curve of one point is drawn as a dot.
        points: name → (recall, precision) of an operating point, drawn as a dot in the curve's colour.
        at_recall: a recall to mark with a vertical line.
    """

    def paint(axes: Axes) -> None:
        lowest = 1.0
        for (name, (recall, precision)), colour in zip(curves.items(), _colours(len(curves)), strict=True):
            axes.plot(recall, precision, label=name, color=colour, linewidth=2, marker="o" if len(recall) == 1 else "")
            lowest = min([lowest, *precision])
            if points and name in points:
                x, y = points[name]
                axes.plot(
                    [x], [y], linestyle="", marker="o", markersize=8, color=colour, markeredgecolor="white", zorder=5
                )
                axes.annotate(
                    f"{y:.2f} at {x:.2f}",
                    (x, y),
                    xytext=(-9, -13),
                    ha="right",
                    color=colour,
                    textcoords="offset points",
                    fontsize=9,
                    fontweight="bold",
                )
        if at_recall is not None:
            axes.axvline(at_recall, color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
        axes.set(
            xlim=(0, 1),
            ylim=(max(0.0, lowest - 0.08) if lowest > 0.3 else 0, 1.02),
            xlabel="recall",
            ylabel="precision",
        )
        axes.legend(loc="lower left")

    return draw("precision-recall", paint, (5.4, 4.3))


def calibration(
    expected: Sequence[float],
    observed: Sequence[float],
    counts: Sequence[int],
    intervals: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Observed precision over expected probability, one dot a bin, its area by the bin's share; maybe intervals."""

    def paint(axes: Axes) -> None:
        most = max(counts, default=1)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (3, 3)), label="perfect")
        axes.plot(expected, observed, color=COLOURS[0], linewidth=1.2, alpha=0.6)
        if intervals:
            lows, highs = zip(*intervals, strict=True)
            axes.vlines(expected, lows, highs, color=COLOURS[0], linewidth=1.2, label="95 %")
        axes.scatter(
            expected,
            observed,
            s=[40 + 160 * count / most for count in counts],
            color=COLOURS[0],
            edgecolors="white",
            zorder=4,
            label="judged entities",
        )
        axes.set(xlim=(-0.02, 1.03), ylim=(-0.02, 1.05), xlabel="probability given", ylabel="share that is true")
        axes.legend(loc="upper left")

    return draw("calibration", paint, (5.4, 4.3))


def long_tail(points: Sequence[Sequence[int]]) -> Markup:
    """Images of an entity over its rank, from `Statistics.long_tail`; both axes logarithmic."""

    def paint(axes: Axes) -> None:
        ranks, images = [point[0] for point in points], [point[1] for point in points]
        axes.plot(ranks, images, color=COLOURS[0], linewidth=2, marker="o" if len(points) < 3 else "")
        axes.fill_between(ranks, images, min(images) * 0.8, color=COLOURS[0], alpha=0.12, linewidth=0)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="entity, by number of images",
            ylabel="images",
            ylim=(min(images) * 0.8, max(images) * 1.3),
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_thousands)
            axis.set_minor_formatter(_few_minor)

    return draw("long-tail", paint, (5.4, 3.4))


def entities_per_image(histogram: Mapping[str, int]) -> Markup:
    """How many images have so many labels."""
    from matplotlib.ticker import MaxNLocator

    def paint(axes: Axes) -> None:
        bars = axes.bar(list(histogram), list(histogram.values()), color=COLOURS[0], width=0.6)
        axes.bar_label(bars, labels=[f"{count:,}" for count in histogram.values()], padding=2, color=INK, fontsize=9)
        axes.set(xlabel="entities of an image", ylabel="images")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(_thousands)
        axes.grid(visible=False, axis="x")
        axes.margins(y=0.12)

    return draw("entities-per-image", paint, (5.4, 3.4))


def funnel(stages: Mapping[str, int]) -> Markup:
    """How many pairs reach each stage, as bars from top to bottom."""

    def paint(axes: Axes) -> None:
        names, counts = list(stages), list(stages.values())
        total = max(counts[0], 1)
        shades = [COLOURS[4]] * (len(counts) - 1) + [COLOURS[0]]
        axes.barh(names, counts, color=shades, height=0.66)
        for row, count in enumerate(counts):
            axes.text(count + total * 0.012, row, f"{count:,}  ({count / total:.0%})", va="center", fontsize=10)
        axes.invert_yaxis()
        axes.set(xlim=(0, total * 1.2))
        axes.tick_params(axis="y", labelcolor=INK)
        axes.xaxis.set_visible(False)
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)

    return draw("funnel", paint, (10.6, 0.44 * len(stages) + 0.2))


def bars(values: Mapping[str, float], *, percent: bool = True) -> Markup:
    """Named values as horizontal bars, the greatest marked, e.g. precisions of several selectors at one recall."""
    from matplotlib.ticker import PercentFormatter

    def paint(axes: Axes) -> None:
        names, numbers = list(values), list(values.values())
        shades = [COLOURS[0 if number == max(numbers) else 4] for number in numbers]
        drawn = axes.barh(names, numbers, color=shades, height=0.6)
        texts = [f"{number:.1%}" if percent else f"{number:,.3g}" for number in numbers]
        axes.bar_label(drawn, labels=texts, padding=4)
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        if percent:
            axes.set(xlim=(0, 1.12))
            axes.xaxis.set_major_formatter(PercentFormatter(1))

    return draw("bars", paint, (6.4, 0.5 * len(values) + 0.6))


def grouped_bars(groups: Mapping[str, Sequence[float]], series: Sequence[str], title: str) -> Markup:
    """Bars side by side in groups, one colour a series.

    Args:
        groups: name → a value for each series; NaN draws nothing.
        series: names, in the legend.
        title: of the vertical axis; also salts the identifiers of the SVG.
    """

    def paint(axes: Axes) -> None:
        width = 0.8 / max(len(series), 1)
        for number, (name, colour) in enumerate(zip(series, _colours(len(series)), strict=True)):
            positions = [at - 0.4 + (number + 0.5) * width for at in range(len(groups))]
            axes.bar(positions, [values[number] for values in groups.values()], width * 0.92, color=colour, label=name)
        axes.set_xticks(range(len(groups)), list(groups), rotation=20 if len(groups) > 6 else 0)
        axes.set_ylabel(title)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=9)

    return draw(f"grouped-bars-{title}", paint, (max(6.4, 1.1 * len(groups)), 4.2))


def lines(series: Mapping[str, Points], title: str, marked: float | None = None, *, log: bool = False) -> Markup:
    """Values over steps, one line a series, named beside its end.

    Args:
        series: name → (steps, values); a series of one point is drawn as a dot.
        title: of the plot.
        marked: a step to mark with a vertical line.
        log: a logarithmic axis of values.
    """
    from matplotlib.ticker import MaxNLocator

    def paint(axes: Axes) -> None:
        for (name, (steps, values)), colour in zip(series.items(), _colours(len(series)), strict=True):
            axes.plot(
                steps,
                values,
                label=name,
                color=colour,
                linewidth=1.8,
                marker="o" if len(steps) < 15 else "",
                markersize=4,
            )
        if marked is not None:
            axes.axvline(marked, color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.set_xlabel("steps")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8.5)

    return draw(f"lines-{title}", paint, (4.6, 3.3 + 0.1 * len(series)))


def _colours(count: int) -> list[str]:
    return [COLOURS[position % len(COLOURS)] for position in range(count)]


def _thousands(value: float, _: float | None = None) -> str:
    return f"{value:,.0f}" if value >= 1 else ""


def _few_minor(value: float, _: float | None = None) -> str:
    first = f"{value:e}"[0]
    return _thousands(value) if first in "25" else ""
