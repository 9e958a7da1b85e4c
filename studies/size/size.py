"""The size study: what entities bring over alt-text when both learn from as many pairs, of as sure labels.

That entity labels train better encoders may have reasons beside the labels: more pairs, other images, more steps, less
noise. Here the two methods differ in a sample's text alone. For shares of the labelled pairs both learn from the same
images, once with equal steps and once with equal epochs; for thresholds on the labels' probability both learn from as
many pairs as the highest threshold leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from openmofi.api.given import Folder, place_of
from openmofi.config import Fraction, NonNegativeInt, PositiveFraction, PositiveInt, Settings, changed
from openmofi.dataset.objects import Dataset
from openmofi.engine import Engine, Progress, engine_named
from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.progress import shown_progress
from openmofi.storage import Outputs, claimed, finish_manifest, write_json, write_text
from openmofi.storage.addresses import is_remote
from openmofi.training.data import open_data
from openmofi.training.data.rows import labels_of
from openmofi.training.model import inputs_of
from openmofi.training.recipe import EvaluateSettings, Recipe
from openmofi.training.recipe.rules import load_recipe, require_data
from studies.size.report import size_page
from studies.size.runs import Benchmark, StudyRun, do_runs
from studies.size.values import METRICS, Values

KIND = "study"
BASELINE, OURS = "alt_text", "entities"
METHODS: Mapping[str, Sequence[str]] = {
    BASELINE: (
        "data.text.alt_text=1",
        "data.text.name=0",
        "data.text.name_description=0",
        "objectives.contrastive.positives=text",
    ),
    OURS: (
        "data.text.alt_text=0",
        "data.text.name=0",
        "data.text.name_description=1",
        "objectives.contrastive.positives=entity-or-text",
    ),
}
"""What sets the methods apart; all else is the recipe's."""
_NO_LIMIT = 1 << 31
_SHARED = (
    "objectives.margin_softmax.weight=0",
    "objectives.contrastive.weight=1",
    "model.nested=[]",
    "model.start=random",
    "model.start_share=0",
    "data.hard_negatives=false",
    "run.report=false",
    "run.best=-loss",
    "run.patience=0",
)
STEPS, EPOCHS, NOISE = "steps", "epochs", "noise"
OUTPUTS = Outputs(("metrics.json", "report.html"), other=("runs/**/*",))


@dataclass(frozen=True)
class SizeSettings(Settings):
    """What is varied.

    Attributes:
        sizes: shares of the labelled pairs, ascending, up to 1.
        thresholds: least probabilities of a label, ascending; those below what the dataset has are left out.
        seeds: runs of each.
        held_out: share of the entities that is held out and measured, where there is no benchmark.
        held_out_seed: decides which.
    """

    sizes: tuple[PositiveFraction, ...] = (0.125, 0.25, 0.5, 1.0)
    thresholds: tuple[Fraction, ...] = (0.5, 0.65, 0.8, 0.9, 0.95)
    seeds: PositiveInt = 3
    held_out: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    held_out_seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sizes", "thresholds"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                raise UsageError(f"{name} is {list(values)}; each must be above the one before.")
        if not (self.sizes or self.thresholds):
            raise UsageError("The study has neither sizes nor thresholds.", "Give --sizes 1/8,1/4,1/2,1, say.")


@dataclass(frozen=True)
class Cell:
    """A point of a curve.

    Attributes:
        curve: `steps` or `epochs` (sizes, with equal ones), or `noise`.
        pairs: that are trained on.
        threshold: least probability of a label; 0 where every label of the dataset counts.
        steps: of a run.
        warmup: steps of it.
    """

    curve: str
    pairs: int
    threshold: float
    steps: int
    warmup: int


@dataclass(frozen=True)
class Source:
    """A dataset of the study.

    Attributes:
        name: of its folder, or of the one above where two are alike.
        path: of it.
        recipes: method → recipe that trains on it.
        cells: what is trained.
        facts: for `metrics.json`.
    """

    name: str
    path: str
    recipes: Mapping[str, Recipe]
    cells: Sequence[Cell]
    facts: Mapping[str, Any]


def run_size_study(
    datasets: Sequence[str | Path],
    out: str | Path,
    settings: SizeSettings,
    progress: Progress,
    *,
    engine: Engine,
    recipe: str | Path = "entity_head",
    overrides: Sequence[str] = (),
    benchmark: Benchmark | None = None,
) -> dict[str, Any]:
    """Run the study, or what is left of it, and write `metrics.json` and `report.html`.

    A run that is measured is kept in `OUT/runs` under all that decides it: a study that is started again, also with
    more sizes, thresholds or seeds, does what is missing.

    Args:
        datasets: folders that `openmofi dataset build` wrote.
        out: the study's folder.
        settings: what is varied.
        progress: counts the runs.
        engine: runs them.
        recipe: a recipe that has a text tower; objectives and texts are the study's.
        overrides: changes to it, as KEY=VALUE; `data.kb` is needed.
        benchmark: see `Benchmark`.

    Returns:
        What `metrics.json` holds.

    Raises:
        UsageError: settings or a recipe that do not fit; a dataset that is given twice.
        OpenMofiError: data are missing; a run failed, and the others are kept.
    """
    folder = Path(out).resolve()
    with claimed(folder, KIND, {"study": "size"}, outputs=OUTPUTS) as manifest:
        named = _names([str(dataset) for dataset in datasets])
        sources = [
            _source(name, path, folder, settings, recipe, overrides, benchmark, progress)
            for name, path in named.items()
        ]
        runs = {
            (source.name, cell, method, seed): _run(source, cell, method, seed, folder, benchmark, settings)
            for source in sources
            for cell in source.cells
            for method in METHODS
            for seed in range(settings.seeds)
        }
        values = dict(zip(runs, do_runs(list(runs.values()), engine, progress), strict=True))
        distinct = {run.path: values[key] for key, run in runs.items()}
        curves = {source.name: {**source.facts, **_curves(source, values, settings.seeds)} for source in sources}
        metrics = {
            "datasets": curves,
            "methods": {name: list(changes) for name, changes in METHODS.items()},
            "recipe": str(recipe),
            "changes": list(overrides),
            "settings": settings.as_dict(),
            "benchmark": asdict(benchmark) if benchmark else None,
            "runs": len(distinct),
            "cpu_seconds": round(sum(value.facts["cpu_seconds"] for value in distinct.values()), 1),
        }
        write_json(folder / "metrics.json", metrics)
        write_text(folder / "report.html", size_page(metrics))
        finish_manifest(folder, manifest, {"runs": len(distinct)})
        return metrics


def _names(paths: Sequence[str]) -> dict[str, str]:
    """Short names of the datasets, in order."""
    places = [PurePosixPath(path) if is_remote(path) else Path(path).resolve() for path in paths]
    short = [place.name for place in places]
    names = [
        f"{place.parent.name}-{name}" if short.count(name) > 1 else name
        for place, name in zip(places, short, strict=True)
    ]
    if len(set(names)) < len(names):
        raise UsageError(f"Two datasets are called {max(names, key=names.count)!r}.", "Give each one once.")
    return dict(zip(names, paths, strict=True))


def _source(
    name: str,
    path: str,
    out: Path,
    settings: SizeSettings,
    recipe: str | Path,
    overrides: Sequence[str],
    benchmark: Benchmark | None,
    progress: Progress,
) -> Source:
    loaded = {method: load_recipe(recipe, [*overrides, *_SHARED, *changes]) for method, changes in METHODS.items()}
    recipes = {method: _on_dataset(each, path, out, settings, benchmark) for method, each in loaded.items()}
    # What all runs share is computed here, before there are several processes.
    for each in recipes.values():
        require_data(each)
        opened = open_data(
            each.data,
            inputs_of(each.model),
            seed=0,
            cache=each.data.cache,
            progress=progress,
            evaluate=each.run.evaluate,
        )
    best = np.zeros(opened.rows, np.float32)
    for row, _, probability in labels_of(opened.sources.rows):
        np.maximum.at(best, row, probability)
    if opened.held_out:
        best = np.delete(best, opened.held_out.rows)
    cells = _cells(best, settings, recipes[OURS])
    if settings.thresholds and not any(cell.curve == NOISE for cell in cells):
        progress.say(f"{name} has no label below {best.min():.3f}: label with a lower --threshold for a curve of noise")
    facts = {
        "path": path,
        "pairs": len(best),
        "entities": int((opened.class_counts > 0).sum()),
        "least_probability": float(best.min()),
    }
    return Source(name, path, recipes, cells, facts)


def _on_dataset(recipe: Recipe, path: str, out: Path, settings: SizeSettings, benchmark: Benchmark | None) -> Recipe:
    data = replace(recipe.data, dataset=path, cache=recipe.data.cache or str(out / "runs" / ".cache"))
    evaluate = (
        EvaluateSettings()
        if benchmark
        else EvaluateSettings(
            every=recipe.run.length,
            retrieval=True,
            held_out=settings.held_out,
            held_out_by="class",
            seed=settings.held_out_seed,
            limit=_NO_LIMIT,
        )
    )
    return replace(recipe, data=data, run=replace(recipe.run, evaluate=evaluate))


def _cells(best: Any, settings: SizeSettings, recipe: Recipe) -> list[Cell]:
    """What is trained, of (pairs,) probabilities of each pair's best label."""
    steps, warmup, total = recipe.run.length, recipe.optimizer.warmup, len(best)
    cells = []
    for share in settings.sizes:
        pairs, shorter = max(1, round(share * total)), max(1, round(share * steps))
        cells += [
            Cell(STEPS, pairs, 0.0, steps, warmup),
            Cell(EPOCHS, pairs, 0.0, shorter, min(shorter, round(share * warmup))),
        ]
    # Of thresholds that leave every pair the highest one says the same as the others.
    lowest = max((number for number, value in enumerate(settings.thresholds) if value <= best.min()), default=0)
    thresholds = settings.thresholds[lowest:]
    pairs = min((int((best >= np.float32(threshold)).sum()) for threshold in thresholds), default=0)
    if thresholds and not pairs:
        raise UsageError(
            f"No pair has a label from {thresholds[-1]:g} on; the surest has {best.max():.3f}.",
            "Give lower --thresholds.",
        )
    if len(thresholds) > 1:
        cells += [Cell(NOISE, pairs, threshold, steps, warmup) for threshold in thresholds]
    return cells


def _run(
    source: Source, cell: Cell, method: str, seed: int, out: Path, benchmark: Benchmark | None, settings: SizeSettings
) -> StudyRun:
    base = source.recipes[method]
    evaluate = replace(base.run.evaluate, every=cell.steps) if base.run.evaluate.every else base.run.evaluate
    recipe = replace(
        base,
        run=replace(base.run, seed=seed, steps=cell.steps, evaluate=evaluate),
        data=replace(base.data, limit=cell.pairs, min_probability=cell.threshold),
        optimizer=replace(base.optimizer, warmup=cell.warmup),
    )
    name = f"{source.name}-{method}-{cell.pairs}-{cell.threshold:g}-{cell.steps}-{seed}"
    return StudyRun(name, recipe, out / "runs", benchmark, max(settings.thresholds, default=0.0))


def _curves(source: Source, values: Mapping[Any, Values], seeds: int) -> dict[str, Any]:
    """Curve → its points: the cell, each method's figures, and the paired difference of entities over alt-text."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for cell in source.cells:
        joined = {
            method: Values.joined([values[source.name, cell, method, seed] for seed in range(seeds)])
            for method in METHODS
        }
        ours, theirs = joined[OURS], joined[BASELINE]
        curves.setdefault(cell.curve, []).append(
            {
                "pairs": cell.pairs,
                "threshold": cell.threshold,
                "steps": cell.steps,
                "epochs": ours.facts["epochs"],
                **{method: value.figures() for method, value in joined.items()},
                "difference": {metric: ours.over(theirs, metric) for metric in METRICS if metric in ours.of},
            }
        )
    some = next(iter(values.values()))
    return {"measured": {"images": len(some.entity), "entities": len(np.unique(some.entity))}, **curves}


def study_size(
    datasets: Sequence[Dataset | Folder],
    *,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    recipe: str | Path = "entity_head",
    overrides: Sequence[str] = (),
    encoder: str = "",
    benchmark: str = "",
    engine: str = "auto",
    progress: bool | Progress | None = None,
    **changes: Any,
) -> Mapping[str, Any]:
    """Compare entities with alt-text at equal numbers of pairs, and of equally sure labels; see docs/training.md.

    What is varied is changed by keyword: fields of `studies.size.size.SizeSettings`, as `sizes=(0.5, 1.0)`.

    Args:
        datasets: folders that `openmofi dataset build` wrote. In Python also what `build_dataset` returned.
        out: folder of the study; what was trained there is not trained again.
        kb: knowledge base, for the names of entities.
        recipe: towers, optimiser and steps; objectives and texts are the study's.
        overrides: changes to the recipe, as `KEY=VALUE`.
        encoder: frozen encoder on whose features heads are trained.
        benchmark: `PROTOCOL=DIR`: measure on the data of a retrieval protocol instead, and hold out no entities.

    Returns:
        What `OUT/metrics.json` holds: of each dataset its curves.

    Raises:
        UsageError: settings that do not fit each other or the datasets.
        OpenMofiError: data are missing; a run failed, and the others are kept.
    """
    lines = list(overrides)
    if encoder:
        from openmofi.training.recipe.rules import over_encoder

        lines = [*over_encoder(load_recipe(recipe, lines), encoder), *lines]
    if kb is not None:
        lines.append(f'data.kb="{place_of(kb)}"')
    with shown_progress(progress) as shown:
        return run_size_study(
            [place_of(dataset) for dataset in datasets],
            out,
            changed(SizeSettings(), changes),
            shown,
            engine=engine_named(engine),
            recipe=recipe,
            overrides=lines,
            benchmark=Benchmark.parse(benchmark) if benchmark else None,
        )
