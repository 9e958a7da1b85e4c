"""The comparison of encoders as a paper would report it: methods tuned alike, three seeds, every pair tested.

`python -m studies.paper -o runs/paper --demo runs/demo`, after `openmofi sample demo`; `make world` does both. Each
method has a grid of equal size, whose best setting is chosen on a fifth of the training entities, held out for it; with
that it is trained on all of them. What is reported is of entities and images that no choice has seen. Runs are kept one
by one: a study that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from markupsafe import Markup

from openmofi.dataset.report.plots import bars
from openmofi.engine import Engine, Progress, engine_named
from openmofi.storage import write_json, write_text
from openmofi.training.recipe import EvaluateSettings, Recipe
from openmofi.training.recipe.rules import load_recipe
from studies import recipe_path
from studies.command import EngineOption, Json, Out, Set, run_command, run_study
from studies.report import Table, interval, number, signed, study_page
from studies.size.runs import Benchmark, StudyRun, do_runs
from studies.size.values import MAP, METRICS, ZERO_SHOT, Values
from studies.world.demo import demo_settings
from studies.world.sample_retrieval import PROTOCOL

SEEDS = (0, 1, 2)
STEPS = 200
"""Of every run, whatever its recipe says: half of most recipes', since 56 runs are to be made."""
RATES = ("optimizer.lr=1e-3", "optimizer.lr=2e-3")
_HELD_OUT = EvaluateSettings(every=1, retrieval=True, held_out=0.2, held_out_by="class", seed=0, limit=1 << 31)
_DROPOUTS = tuple(f"model.image.feature_dropout={share}" for share in (0.5, 0.7))
_SCALES = tuple(f"objectives.margin_softmax.scale={scale}" for scale in (10, 32))
_HEAD_SCALES = ("objectives.margin_softmax.scale=10", "objectives.margin_softmax.scale=20")
_NAMES = {MAP: "mAP, query excluded", ZERO_SHOT: "zero-shot"}


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        title: in tables.
        recipe: of the studies.
        own: the setting of its own that is tuned beside the learning rate, two values.
        changes: to the recipe.
    """

    title: str
    recipe: str
    own: Sequence[str]
    changes: Sequence[str] = ()

    @property
    def grid(self) -> list[tuple[str, str]]:
        """The settings that are tried."""
        return [(rate, own) for rate in RATES for own in self.own]


METHODS: Mapping[str, Method] = {
    "alt_text": Method("contrastive on alt-texts (CLIP)", "sample_contrastive_alt_text", _DROPOUTS),
    "entities": Method("contrastive on entities", "sample_contrastive_entities", _DROPOUTS),
    "supervised": Method(
        "supervised, entity texts in the class head",
        "sample_supervised",
        _SCALES,
        (
            "model.text.spec=encoder:backbone:efficientnet-lite0+minilm",
            "objectives.margin_softmax.texts=0.1",
            "data.text.alt_text=0",
            "data.text.name_description=1",
        ),
    ),
    "multi_task": Method("multi-task on entities", "sample_multi_task", _SCALES),
    "multi_task_mixed": Method(
        "multi-task, half of the texts alt-texts (MOFI)",
        "sample_multi_task",
        _SCALES,
        ("data.text.alt_text=0.5", "data.text.name_description=0.5"),
    ),
    "head": Method(
        "entity head, random start, descriptions alone",
        "sample_entity_head",
        _HEAD_SCALES,
        ("model.start=random", "model.start_share=0", "data.text.name=0", "data.text.name_description=1"),
    ),
    "head_names": Method(
        "entity head, random start, names too",
        "sample_entity_head",
        _HEAD_SCALES,
        ("model.start=random", "model.start_share=0"),
    ),
    "head_start": Method("entity head, midway to closed form, names too", "sample_entity_head", _HEAD_SCALES),
}


def run_paper(
    out: str | Path, demo: str | Path, progress: Progress, *, engine: Engine, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Tune, train, measure and test; write `metrics.json` and `report.html`.

    Args:
        out: the study's folder.
        demo: folder of a finished demo.
        progress: counts the runs.
        engine: runs them.
        overrides: settings of all recipes.

    Returns:
        What `metrics.json` holds.
    """
    root, folder = Path(demo), Path(out) / "runs"
    shared = [*demo_settings(root), f"run.steps={STEPS}", *overrides]
    trials = {
        (name, point): tuning_run(name, point, shared, folder)
        for name, method in METHODS.items()
        for point in method.grid
    }
    tried = dict(zip(trials, do_runs(list(trials.values()), engine, progress), strict=True))
    scores = {trial: score(values) for trial, values in tried.items()}
    chosen = {
        name: max((scores[name, point], -place, point) for place, point in enumerate(method.grid))[2]
        for name, method in METHODS.items()
    }
    benchmark = Benchmark(PROTOCOL.name, str(root))
    runs = {
        (name, seed): StudyRun(f"{name}-{seed}", recipe_of(name, [*shared, *chosen[name]], seed), folder, benchmark)
        for name in METHODS
        for seed in SEEDS
    }
    values = dict(zip(runs, do_runs(list(runs.values()), engine, progress), strict=True))
    joined = {name: Values.joined([values[name, seed] for seed in SEEDS]) for name in METHODS}
    entities = next(iter(joined.values())).entity
    cpu = sum(value.facts["cpu_seconds"] for value in (*tried.values(), *values.values()))
    metrics = {
        "tuning": {name: {"chosen": list(chosen[name]), "tried": _tried(name, tried)} for name in METHODS},
        "methods": {name: {"title": METHODS[name].title, **value.figures()} for name, value in joined.items()},
        "pairs": {metric: tested(joined, metric) for metric in METRICS},
        "changes": list(overrides),
        "steps": next(iter(runs.values())).recipe.run.steps,
        "seeds": list(SEEDS),
        "runs": len(tried) + len(values),
        "cpu_seconds": round(cpu, 1),
        "measured": {"images": len(entities), "entities": len(np.unique(entities))},
    }
    write_json(Path(out) / "metrics.json", metrics)
    title = "Methods compared: tuned alike, every pair tested"
    write_text(Path(out) / "report.html", study_page("Methods compared", title, paper_sections(metrics)))
    return metrics


def _tried(name: str, tried: Mapping[tuple[str, tuple[str, str]], Values]) -> list[dict[str, Any]]:
    return [
        {"settings": list(point), **{metric: tried[name, point].mean(metric) for metric in METRICS}}
        for point in METHODS[name].grid
    ]


def recipe_of(name: str, settings: Sequence[str], seed: int) -> Recipe:
    """A method's recipe with these settings."""
    method = METHODS[name]
    return load_recipe(recipe_path(method.recipe), [*method.changes, *settings, f"run.seed={seed}"])


def tuning_run(name: str, point: Sequence[str], shared: Sequence[str], folder: Path) -> StudyRun:
    """The run that tries a point of a method's grid, measured on training entities that are held out for it."""
    recipe = recipe_of(name, [*shared, *point], seed=0)
    evaluate = replace(_HELD_OUT, every=recipe.run.length)
    number = METHODS[name].grid.index((point[0], point[1]))
    return StudyRun(f"tune-{name}-{number}", replace(recipe, run=replace(recipe.run, evaluate=evaluate)), folder)


def score(values: Values) -> float:
    """By what a setting is chosen: mAP and zero-shot accuracy together."""
    return values.mean(MAP) + values.mean(ZERO_SHOT)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): whichever are below a level, all of these hold at that level together."""
    order = np.argsort(p_values, kind="stable")
    ascending = np.asarray(p_values, np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(ascending), 1.0)
    return adjusted.tolist()


def tested(methods: Mapping[str, Values], metric: str) -> list[dict[str, Any]]:
    """Every pair of methods: the difference over seeds and entities, and p-values after Holm."""
    pairs = list(combinations(methods, 2))
    found = [methods[ours].over(methods[theirs], metric) for theirs, ours in pairs]
    adjusted = holm([difference["p_value"] for difference in found])
    return [
        {"method": ours, "over": theirs, **difference, "p_holm": value}
        for (theirs, ours), difference, value in zip(pairs, found, adjusted, strict=True)
    ]


def paper_sections(metrics: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """The report's sections: title, content, text."""
    seeds = ", ".join(map(str, metrics["seeds"]))
    sections = [
        (
            "Methods, tuned alike",
            Markup("{}{}").format(
                methods_table(metrics).html(),
                bars({row["title"]: row[MAP]["mean"] for row in metrics["methods"].values()}),
            ),
            f"{metrics['measured']['images']:,} images of {metrics['measured']['entities']:,} entities that no run has "
            f"seen. Means over the seeds {seeds}; intervals are 95 %, by Student's t over seeds and entities. "
            f"{metrics['steps']} steps a run."
            + (f" Changed in every recipe: {', '.join(metrics['changes'])}." if metrics["changes"] else ""),
        )
    ]
    sections += [
        (
            f"Every pair: {_NAMES[metric]}",
            pairs_table(metrics, metric).html(),
            f"Student's t over seeds and entities; p-values after Holm over these "
            f"{len(metrics['pairs'][metric])} pairs.",
        )
        for metric in METRICS
    ]
    sections.append(
        (
            "How each method was tuned",
            tuning_table(metrics).html(),
            f"{len(RATES)} learning rates × 2 values of a setting of its own, one seed, on a fifth of the "
            "training entities held out for it; the greatest sum of mAP and zero-shot was taken (*).",
        )
    )
    return sections


def methods_table(metrics: Mapping[str, Any]) -> Table:
    """A row a method."""
    return Table(
        ("method", "mAP, query excluded", "95 %", "zero-shot", "95 %"),
        [
            (
                row["title"],
                *(
                    cell
                    for metric in METRICS
                    for cell in (number(row[metric]["mean"]), interval(row[metric]["interval"]))
                ),
            )
            for row in metrics["methods"].values()
        ],
    )


def pairs_table(metrics: Mapping[str, Any], metric: str) -> Table:
    """A row a pair."""
    titles = {name: row["title"] for name, row in metrics["methods"].items()}
    return Table(
        ("method", "over", "difference", "95 %", "p, Holm"),
        [
            (
                titles[row["method"]],
                titles[row["over"]],
                signed(row["difference"]),
                " to ".join(signed(edge) for edge in row["difference_interval"]),
                f"{row['p_holm']:.4f}",
            )
            for row in metrics["pairs"][metric]
        ],
        numbers=(2, 3, 4),
    )


def tuning_table(metrics: Mapping[str, Any]) -> Table:
    """A row a setting that was tried."""
    return Table(
        ("method", "settings", "mAP", "zero-shot", ""),
        [
            (
                metrics["methods"][name]["title"],
                ", ".join(point.rpartition(".")[2] for point in row["settings"]),
                number(row[MAP]),
                number(row[ZERO_SHOT]),
                "*" if row["settings"] == found["chosen"] else "",
            )
            for name, found in metrics["tuning"].items()
            for row in found["tried"]
        ],
        numbers=(2, 3),
    )


def print_paper(metrics: Mapping[str, Any]) -> None:
    """Print the methods and every pair."""
    methods_table(metrics).print("Methods, tuned alike")
    for metric in METRICS:
        pairs_table(metrics, metric).print(f"Every pair: {_NAMES[metric]}")
    print(f"{metrics['runs']} runs, {metrics['cpu_seconds']:,.0f} CPU seconds")


def main(
    out: Out = Path("runs/paper"),
    demo: Annotated[Path, typer.Option(help="Folder of a finished demo.")] = Path("runs/demo"),
    settings: Set = None,
    engine: EngineOption = "auto",
    as_json: Json = False,
) -> None:
    """Compare ways to train as a paper would report it; on the folder of a finished `openmofi sample demo`."""

    def show(metrics: dict[str, Any]) -> None:
        print_paper(metrics)
        print(f"report: {out}/report.html")

    run_study(
        lambda progress: run_paper(out, demo, progress, engine=engine_named(engine), overrides=settings or ()),
        as_json,
        show,
    )


if __name__ == "__main__":
    run_command(main)
