"""Pages of a run: its learning curves (`curves.html`), and what a head does with new entities (`report.html`)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from openmofi.arrays import Array, Bools, Ints
from openmofi.dataset.report.plots import grouped_bars, lines
from openmofi.encoders import Encoder, normalised
from openmofi.evaluation.bands import BANDS, thirds_of
from openmofi.evaluation.metrics.retrieval import RetrievalResult, evaluate_retrieval
from openmofi.evaluation.metrics.zero_shot import ZeroShotResult, evaluate_zero_shot
from openmofi.storage import write_json, write_text
from openmofi.training.data.loader import TrainingData
from openmofi.training.data.subset import HeldOut
from openmofi.training.log import read_log

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
    """A row for each metric of the evaluators: its value at the first evaluation, the best checkpoint, and the last."""
    rows = []
    for name in _names(evaluations := [line for line in log if "lr" not in line]):
        values = {line["step"]: line[name] for line in evaluations if line.get(name) is not None}
        each = list(values.values())
        at_best = values.get(best["step"]) if best else None
        rows.append({"name": name, "first": each[0], "last": each[-1], "best": at_best})
    return rows


def panels_of(log: Log, best: int | None) -> list[Markup]:
    """Return the plots: losses, metrics of the evaluators, accuracies, norms of gradients, pace.

    Args:
        log: lines of the log.
        best: step of the best checkpoint.
    """
    names = _names(log)
    evaluated = {name for line in log if "lr" not in line for name in line}
    families: dict[str, list[str]] = {
        "Loss": [name for name in names if name == "loss" or name.startswith("loss/") or name == "held_out/loss"]
    }
    for name in names:
        family, _, rest = name.partition("/")
        if name in evaluated and family != "held_out":
            counts, _, band = name.rpartition("/")
            title = f"Held out by frequency: {counts}" if band in ("head", "middle", "tail") else f"Held out: {family}"
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


def render(page: str, **values: Any) -> str:
    """A page by the name of its template; the filter `number` writes three decimals, and – for `None`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("openmofi.training", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment.get_template(f"{page}.html.j2").render(**values)


FIGURES, PAGE = "results.json", "report.html"
_EACH = ("map_incl_query", "map_excl_query", "recall_at_1", "zero_shot")


def write_results(
    out: Path, data: TrainingData, base: Encoder, encoder: Encoder, dims: Sequence[int], name: str
) -> dict[str, Any]:
    """Measure both encoders on the held-out rows, and write `results.json` and `report.html`.

    Args:
        out: folder of the run.
        data: with held-out rows and the features of their images.
        base: the frozen encoder.
        encoder: the trained one, over it.
        dims: lengths of the embeddings that are measured, the whole first.
        name: of the recipe.

    Returns:
        The figures: `before` and `after` by length, `bands` of the whole, `rows`, `entities`.
    """
    assert data.held_out is not None
    assert data.sources.image_features is not None
    features = data.sources.image_features.take(data.held_out.rows).numpy()
    counts = data.class_counts + np.bincount(data.held_out.labels, minlength=data.classes)
    figures = measure(data.held_out, counts, features, base, encoder, dims)
    figures["training"] = {
        key: value
        for line in read_log(out)[-2:]
        for key, value in line.items()
        if key == "step" or key == "loss" or "accuracy" in key
    }
    write_json(out / FIGURES, figures)
    write_text(out / PAGE, _page(figures, base, name))
    return figures


def measure(
    held_out: HeldOut, counts: Ints, features: Array, base: Encoder, encoder: Encoder, dims: Sequence[int]
) -> dict[str, Any]:
    """Retrieval and zero-shot classification of the held-out rows, before and after.

    Without a joint space the base is measured by its image features, and does not classify.

    Args:
        held_out: the rows.
        counts: (classes,) images of each class in the dataset.
        features: (rows, feature_dim) of the base.
        base, encoder, dims: see `write_results`.
    """
    before = base.project_images(features) if base.has_joint_space else normalised(features)
    after = encoder.project_images(features)
    texts = [_texts(side, held_out) for side in (base, encoder)]
    figures: dict[str, Any] = {"rows": len(held_out.rows), "entities": len(np.unique(held_out.labels)), "bands": {}}
    band = thirds_of(held_out.labels, counts)
    figures["band_images"] = {name: int((band == number).sum()) for number, name in enumerate(BANDS)}
    for side, images, classes in (("before", before, texts[0]), ("after", after, texts[1])):
        lengths = list(dims) if side == "after" else [images.shape[1], *(dim for dim in dims if dim < images.shape[1])]
        of_length = {}
        for length in dict.fromkeys(lengths):
            retrieval, zero_shot = _measured(images, classes, held_out.labels, length)
            of_length[str(length)] = _figures(retrieval, zero_shot, np.ones(len(images), bool))
            if length == images.shape[1]:
                figures["bands"][side] = {
                    name: _figures(retrieval, zero_shot, band == number)
                    for number, name in enumerate(BANDS)
                    if (band == number).any()
                }
        figures[side] = of_length
    return figures


def _texts(encoder: Encoder, held_out: HeldOut) -> Array | None:
    """(classes, dim) embeddings of the held-out classes' names; `None` without texts."""
    if not encoder.has_texts:
        return None
    return normalised(np.mean([encoder.embed_texts(list(texts)) for texts in held_out.texts], axis=0))


def _measured(
    images: Array, classes: Array | None, labels: Ints, length: int
) -> tuple[RetrievalResult, ZeroShotResult | None]:
    codes = np.unique(labels, return_inverse=True)[1]
    short = normalised(images[:, :length])
    zero_shot = None
    if classes is not None:
        zero_shot = evaluate_zero_shot(short, codes, normalised(classes[:, :length]), resamples=1)
    return evaluate_retrieval(short, labels, recall_at=(1,), resamples=1), zero_shot


def _figures(retrieval: RetrievalResult, zero_shot: ZeroShotResult | None, rows: Bools) -> dict[str, float | None]:
    queries = rows & ~np.isnan(retrieval.ap_excl_query)
    if not queries.any():
        return dict.fromkeys(_EACH)
    return {
        "map_incl_query": float(retrieval.ap_incl_query[rows].mean()),
        "map_excl_query": float(retrieval.ap_excl_query[queries].mean()),
        "recall_at_1": float((retrieval.first_excl_query[queries] == 1).mean()),
        "zero_shot": None if zero_shot is None else float(zero_shot.correct[rows].mean()),
    }


def _page(figures: dict[str, Any], base: Encoder, name: str) -> str:
    lengths = sorted({*figures["before"], *figures["after"]}, key=int, reverse=True)
    curves = {
        key: _curve(figures, lengths, key, title)
        for key, title in (("map_excl_query", "mAP, query excluded"), ("zero_shot", "zero-shot accuracy"))
    }
    return render(
        "head", figures=figures, base=base.spec, name=name, lengths=lengths, bands=BANDS, each=_EACH, curves=curves
    )


def _curve(figures: dict[str, Any], lengths: Sequence[str], key: str, title: str) -> Markup:
    def value(side: str, length: str) -> float:
        figure = figures[side].get(length, {}).get(key)
        return float("nan") if figure is None else float(figure)

    return grouped_bars(
        {length: [value("before", length), value("after", length)] for length in lengths},
        ("encoder", "with the head"),
        title,
    )
