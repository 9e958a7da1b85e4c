"""The learning curves of a run, as a page: `curves.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from openmofi.dataset.report.plots import lines
from openmofi.storage import write_text
from openmofi.training.log import read_log
from openmofi.training.pages import render

CURVES = "curves.html"
CLASSES = "classes.json"

_LINES = 6
_PACE = {"images/s": "images_per_s"}
_SHARES = {"waiting for data": "data_wait", "images that cannot be decoded": "undecodable"}
Log = Sequence[Mapping[str, Any]]


def write_curves(out: Path, name: str) -> None:
    """Write the page of a run from its log, its best checkpoint and `classes.json`; without a log there is none.

    Args:
        out: folder of the run.
        name: of the recipe.
    """
    if log := read_log(out):
        best = _json(out / "checkpoints/best.json")
        panels = panels_of(log, best["step"] if best else None)
        write_text(
            out / CURVES,
            render(
                "curves",
                name=name,
                steps=log[-1]["step"],
                best=best,
                panels=panels,
                measured=measured(log, best),
                classes=_json(out / CLASSES),
            ),
        )


def measured(log: Log, best: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A row a metric that evaluators measured: its value at the first evaluation, the best checkpoint, and the last."""
    rows = []
    for name in _names(evaluations := [line for line in log if "lr" not in line]):
        values = {line["step"]: line[name] for line in evaluations if line.get(name) is not None}
        each = list(values.values())
        at_best = values.get(best["step"]) if best else None
        rows.append({"name": name, "first": each[0], "last": each[-1], "best": at_best})
    return rows


def panels_of(log: Log, best: int | None) -> list[Markup]:
    """The plots: losses, what evaluators measured, accuracies, norms of gradients, pace.

    Args:
        log: lines of the log.
        best: step of the best checkpoint.
    """
    names = _names(log)
    found = {name for line in log if "lr" not in line for name in line}
    families: dict[str, list[str]] = {
        "Loss": [name for name in names if name == "loss" or name.startswith("loss/") or name == "held_out/loss"]
    }
    for name in names:
        family, _, rest = name.partition("/")
        if name in found and family != "held_out":
            title = f"Held out by frequency: {name.rpartition('/')[0]}" if _banded(name) else f"Held out: {family}"
            families.setdefault(title.replace("_", " "), []).append(name)
        elif "accuracy" in rest:
            families.setdefault(f"Training: {family}".replace("_", " "), []).append(name)
    families["Norm of the gradient"] = [name for name in names if "grad_norm" in name]
    plots = [
        _panel(log, {_short(name, title): name for name in chosen}, title, best, log_scale=title.startswith("Norm"))
        for title, chosen in families.items()
        if chosen
    ]
    plots += [
        _panel(log, _PACE, "Pace", best),
        _panel(log, _SHARES, "Share of the time, of the images", best),
        _panel(log, {"learning rate": "lr"}, "Learning rate", best),
    ]
    return [plot for plot in plots if plot]


def _short(name: str, title: str) -> str:
    """A scalar without what the title of its plot says already."""
    if title.startswith("Held out by frequency"):
        return name.rpartition("/")[2]
    return (name.partition("/")[2] or name) if title.startswith(("Held out", "Training")) else name


def _banded(name: str) -> bool:
    return name.rpartition("/")[2] in ("head", "middle", "tail")


def _panel(log: Log, chosen: Mapping[str, str], title: str, best: int | None, *, log_scale: bool = False) -> Markup:
    series = {}
    for label, name in list(chosen.items())[:_LINES]:
        points = [(line["step"], line[name]) for line in log if line.get(name) is not None]
        if points and (not log_scale or min(value for _, value in points) > 0):
            series[label] = ([step for step, _ in points], [value for _, value in points])
    return lines(series, title, best, log=log_scale) if series else Markup("")


def _names(log: Log) -> list[str]:
    return [name for name in dict.fromkeys(name for line in log for name in line) if name != "step"]


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else None
