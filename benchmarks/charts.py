"""Draws the five charts of RESULTS.md from results/*.json as SVG. Equal results give equal bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from openmofi.dataset.report.plots import COLOURS, INK, SOFT

RESULTS = Path(__file__).parent / "results"
_PANEL = "#e6e8eb"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "text.color": INK,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "text.parse_math": False,
    "svg.fonttype": "path",
}
Rows = Sequence[dict[str, Any]]


def claims(figure: Figure, rows: Rows) -> None:
    """Found minus expected precision over accepted labels, a dot a world that `calibration.ratios` counts."""
    axes = figure.subplots()
    axes.axhspan(-0.05, 0.05, color=_PANEL, zorder=0, linewidth=0)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    large = [row for row in rows if row["candidates"] >= 1_000 and row["accepted"] >= 50]
    kinds = {
        "wrong names are as decoys": [row for row in large if row["companions"] == "none"],
        "wrong names suit the image": [row for row in large if row["companions"] != "none"],
    }
    for (label, counted), colour in zip(kinds.items(), COLOURS, strict=False):
        x, y = [row["accepted"] for row in counted], [row["gap"] for row in counted]
        axes.scatter(x, y, s=16, color=colour, alpha=0.75, linewidth=0, label=f"{label} ({len(counted)} worlds)")
    axes.set(xscale="log", xlabel="accepted labels of a world", ylabel="found − expected precision", ylim=(-0.1, 0.1))
    axes.set_yticks([-0.1, -0.05, 0, 0.05, 0.1], ["−.10", "−.05", "0", ".05", ".10"])
    axes.xaxis.set_major_formatter(_whole)
    axes.legend(loc="lower right")


def search(figure: Figure, rows: Rows) -> None:
    """Speed, memory and time to build of an index of a million vectors, beside peers; recall with the names."""
    peers = [row for row in rows if row["vectors"] == 1_000_000 and "queries_per_cpu_second" in row]
    peers = [row for row in peers if not row["contender"].startswith("filtered")][::-1]
    names = [f"{row['contender']}, {row['recall_at_10']:.3f}" for row in peers]
    measures = {
        "queries_per_cpu_second": "queries a processor second",
        "memory_mib": "memory, MiB",
        "build_cpu_s": "build, processor seconds",
    }
    for axes, (key, title) in zip(figure.subplots(1, 3, sharey=True), measures.items(), strict=True):
        values = [row.get(key) for row in peers]
        colours = [COLOURS[0] if row["contender"] == "openmofi" else "#b8c0ca" for row in peers]
        axes.barh(names, [value or 0 for value in values], color=colours)
        for place, value in enumerate(values):
            axes.annotate(" –" if value is None else f" {value:,.0f}", (value or 0, place), va="center")
        axes.set(title=title, xticks=[], xlim=(0, 1.25 * max(value or 0 for value in values)))
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)


def job(figure: Figure, rows: Rows) -> None:
    """Pairs a second of the label job over images a second of its encoder, beside the most that can be reached."""
    axes = figure.subplots()
    speeds = {"stub of 100/s": 100, "stub of 300/s": 300, "stub of 1,000/s": 1000, "stub of 3,000/s": 3000}
    reached = {row["contender"].removeprefix("label job, "): row["per_second"] for row in rows}
    decoding = [row["per_second"] for row in rows if row["contender"].startswith("decoding alone")]
    limits = [min(speed, rate) for speed, rate in zip(speeds.values(), decoding, strict=True)]
    x, y = list(speeds.values()), [reached[name] for name in speeds]
    axes.plot(x, limits, color=SOFT, linestyle=(0, (3, 3)), label="the encoder, or decoding where that is slower")
    axes.plot(x, y, color=COLOURS[0], marker="o", label="label job, a stub of that speed")
    bare, whole = reached["bare encoder"], reached["label job"]
    axes.plot([bare], [whole], color=COLOURS[1], marker="D", linestyle="", label="label job, a real encoder")
    axes.set(xscale="log", yscale="log", xlabel="images a second of the encoder", ylabel="pairs a second of the job")
    ticks = [50, 100, 200, 500, 1000, 2000]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_whole)
        axis.set_minor_formatter(NullFormatter())
    axes.set(xticks=[100, 300, 1000, 3000], yticks=[tick for tick in ticks if tick <= 2 * max(limits)])
    axes.legend(loc="lower right")


def photo(figure: Figure, rows: Rows) -> None:
    """Zero-shot top-1 of the encoders in the package on photographs, with 95 % intervals."""
    axes = figure.subplots()
    sizes = Counter(row["classes"] for row in rows)
    groups = list(sizes)
    encoders = ("photo", "tiny", "sample")
    for place, (encoder, colour) in enumerate(zip(encoders, COLOURS, strict=False)):
        of = [row for row in rows if row["encoder"] == encoder]
        x = [groups.index(row["classes"]) + 0.27 * (place - sizes[row["classes"]] / 2 + 0.5) for row in of]
        top1 = [row["top1"] for row in of]
        spread = [[row["top1"] - row["low"] for row in of], [row["high"] - row["top1"] for row in of]]
        axes.bar(x, top1, 0.24, color=colour, label=encoder, yerr=spread, error_kw={"ecolor": INK, "elinewidth": 0.9})
    axes.set_xticks(range(len(groups)), [f"{group} classes" for group in groups])
    axes.set(ylabel="zero-shot top-1", ylim=(0, 0.7))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend(loc="upper right")


def references(figure: Figure, rows: Rows) -> None:
    """Top-1 among all entities over reference images of each, by what entities are known by."""
    panels = figure.subplots(1, 2, sharey=True)
    for axes, of in zip(panels, ("held-out entities", "unseen artists"), strict=True):
        for by, colour in zip(("both", "images", "text"), COLOURS, strict=False):
            line = [row for row in rows if (row["of"], row["by"], row.get("have")) == (of, by, "all")]
            x, y = [row["references"] for row in line], [row["accuracy"] for row in line]
            spread = [[row["accuracy"] - row["low"] for row in line], [row["high"] - row["accuracy"] for row in line]]
            label = {"both": "text and images", "images": "images alone", "text": "text alone"}[by]
            axes.errorbar(x, y, spread, color=colour, marker="o", markersize=4, capsize=2, label=label)
        axes.set(title=of, xscale="log", xlabel="reference images of an entity")
        axes.set_xticks([1, 3, 10], ["1", "3", "10"])
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set(ylabel="top-1", ylim=(0, 0.75))
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, 0))
    panels[1].legend(loc="upper left")


class Chart(NamedTuple):
    """A chart: its file in results/, the benchmark it is of, how it is drawn, in inches, and what it shows."""

    name: str
    benchmark: str
    paint: Callable[[Figure, Rows], None]
    size: tuple[float, float]
    caption: str


CHARTS = (
    Chart(
        "claims",
        "calibration",
        claims,
        (6.4, 3.4),
        "What jobs claim beside what was found, on simulated worlds, target .95: a dot below the line claims too much.",
    ),
    Chart(
        "search",
        "search",
        search,
        (9.2, 2.6),
        "An index of a million vectors beside peers, each at the effort that reaches a recall@10 near .98, which "
        "stands behind the name; –: not measured.",
    ),
    Chart("job", "label", job, (6.4, 3.4), "The label job beside the encoder that it runs."),
    Chart(
        "photo",
        "photo",
        photo,
        (6.4, 3.2),
        "Encoders that need no hub, on photographs: which of 1,000 classes that `photo` saw, or 200 held out from it.",
    ),
    Chart(
        "references",
        "references",
        references,
        (7.6, 3.2),
        "Entities known by text, by reference images, or by both: which of 2,176 does an image show?",
    ),
)
_whole = FuncFormatter(lambda value, _: f"{value:,.0f}")


def draw(chart: Chart) -> Path:
    """Write `results/NAME.svg`."""
    rows = json.loads((RESULTS / f"{chart.benchmark}.json").read_text(encoding="utf-8"))["rows"]
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": chart.name}):
        figure = Figure(figsize=chart.size, layout="constrained")
        chart.paint(figure, rows)
        path = RESULTS / f"{chart.name}.svg"
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path
