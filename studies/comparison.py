"""The paper in miniature: what the entity labels bring to an encoder, measured on entities that none has seen.

`python -m studies.comparison -o runs/demo` runs after `openmofi sample demo` in the same folder, and adds its figures
to `metrics.json` and `report.html` there: heads on cached features by `studies.paper`, in `paper/`, and with `--full`
encoders that are trained end to end.

Those have the same first weights, pages and number of images seen; only the objective and the texts differ. Each then
retrieves the other artists' images of the same held-out entity, and names held-out entities from their texts: the
protocol `sample-retrieval`, whose results are kept in `evaluation-full/` for `openmofi eval compare`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from markupsafe import Markup
from numpy.typing import NDArray

from openmofi.dataset import ReportSection
from openmofi.dataset.report.plots import bars
from openmofi.encoders import BACKBONE, open_encoder
from openmofi.engine import Engine, Progress, engine_named
from openmofi.errors import OpenMofiError
from openmofi.evaluation.result import GROUP, write_result
from openmofi.evaluation.run import evaluate
from openmofi.plugins.benchmarks.by_t import difference_by_t, interval_by_t
from openmofi.plugins.protocols.retrieval import EXCL, INCL
from openmofi.training.recipe.rules import load_recipe
from studies import recipe_path
from studies.command import EngineOption, Json, Out, Set, run_command, run_study
from studies.paper import paper_sections, print_paper, run_paper
from studies.report import Table, encoder_table, number, print_end, verdict
from studies.training import TrainingRun, train_side_by_side
from studies.world.demo import Stopwatch, audit_demo, demo_settings, finish_demo, page_command
from studies.world.ends import search_metrics
from studies.world.sample_retrieval import PROTOCOL, ZERO_SHOT

UNTRAINED = "untrained"
BASELINE, BEST = "alt_text", "multi_task"
RECIPES: Mapping[str, str] = {
    "alt_text": "sample_contrastive_alt_text",
    "entities": "sample_contrastive_entities",
    "supervised": "sample_supervised",
    "multi_task": "sample_multi_task",
}
SEEDS = (0, 1, 2)
GOALS: Mapping[str, float] = {
    "labels.precision": 0.90,
    "labels.recall": 0.75,
    "labels.ambiguous_precision": 0.80,
    "labels.heldout_precision": 0.90,
    "labels.heldout_recall": 0.75,
    "labels.heldout_ambiguous_precision": 0.80,
}
"""Of the demo's labels."""
GAIN_GOAL = 0.15
"""Of the relative gain in mAP, query excluded, of `BEST` over `BASELINE`."""
ROWS: Mapping[str, str] = {
    UNTRAINED: "no training: ImageNet's features",
    "alt_text": "contrastive on alt-texts (CLIP)",
    "entities": "contrastive on entities",
    "supervised": "supervised: margin softmax over entities",
    "multi_task": "multi-task (MOFI)",
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RetrievalValues:
    """What an encoder, or those of several seeds, do with each held-out image.

    Attributes:
        values: metric → (seeds, images): average precisions (NaN without positives); 1 where zero-shot classification
            is right, absent without a text side.
        entity: (images,) its entity.
    """

    values: Mapping[str, Floats]
    entity: NDArray[np.str_]

    @classmethod
    def of(cls, items: pa.Table) -> RetrievalValues:
        """From the items of a result of the protocol."""
        present = [name for name in (INCL, EXCL, ZERO_SHOT) if name in items.column_names]
        values = {name: items[name].to_numpy().astype(np.float64)[None] for name in present}
        return cls(values, np.array(items[GROUP].to_pylist()))

    @classmethod
    def joined(cls, runs: Sequence[RetrievalValues]) -> RetrievalValues:
        """Join the runs of several seeds."""
        names = runs[0].values
        return cls({name: np.concatenate([run.values[name] for run in runs]) for name in names}, runs[0].entity)

    def figures(self) -> dict[str, Any]:
        """As in `metrics.json`; intervals are 95 %, over entities and seeds."""
        figures: dict[str, Any] = {}
        for name in (INCL, EXCL, ZERO_SHOT):
            values = self.values.get(name)
            figures[name] = None if values is None else float(np.nanmean(values))
            figures[f"{name}_interval"] = None if values is None else list(interval_by_t(values, self.entity))
        return figures

    def over(self, other: RetrievalValues, metric: str) -> dict[str, Any]:
        """The difference to another encoder on the same images; see `openmofi.bootstrap.PairedDifference`."""
        return difference_by_t(self.values[metric], other.values[metric], self.entity).as_dict()


def run_comparison(
    out: str | Path, progress: Progress, *, engine: Engine, full: bool = False, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Compare the encoders on the finished demo in `out`, and write its metrics and report with what they show.

    Args:
        out: the demo's folder.
        progress: receives every step.
        engine: runs the heads.
        full: also train encoders end to end, three seeds each.
        overrides: settings of all recipes, as `openmofi train --set` takes them.

    Returns:
        What `metrics.json` holds: the demo's metrics, `paper` (see `run_paper`) and, with `full`, `retrieval_full` (see
        `compare_encoders`).

    Raises:
        OpenMofiError: the demo is not finished, or a run failed.
    """
    root = Path(out)
    path = root / "metrics.json"
    if not path.exists():
        raise OpenMofiError(f"{path} does not exist.", f"Run: openmofi sample demo -o {root}")
    earlier: dict[str, Any] = json.loads(path.read_text("utf-8"))
    metrics = {name: earlier[name] for name in ("labels", "pairs", "rows_in", "rows_out")}
    watch = Stopwatch.open(root / "seconds.json")
    # A demo of an earlier version has not measured its searches.
    metrics["search"] = earlier.get("search") or watch.time("search", lambda: search_metrics(root))
    metrics["paper"] = watch.time(
        "training", lambda: run_paper(root / "paper", root, progress, engine=engine, overrides=overrides)
    )
    sections = [ReportSection(*section) for section in paper_sections(metrics["paper"])]
    if full:
        metrics["retrieval_full"] = watch.time(
            "training-full", lambda: compare_encoders(root, progress, overrides=overrides)
        )
        sections.append(full_section(metrics["retrieval_full"]))
    audits = watch.time("audit", lambda: audit_demo(root))
    return finish_demo(root, watch, metrics, audits, sections, GOALS)


def compare_encoders(root: Path, progress: Progress, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train the encoders of the table end to end on `root/dataset`, and measure them and the untrained one.

    What is trained is kept, so that a comparison that was stopped goes on.

    Args:
        root: the demo's folder; gets `training-full/` and `evaluation-full/`.
        progress: receives each run.
        overrides: settings of all recipes, as `openmofi train --set` takes them.

    Returns:
        Name → figures (`map_incl_query`, `map_excl_query`, `zero_shot` and their intervals), `seeds` (the figures of
        each run) and `gain` over the alt-text baseline.
    """
    results = root / "evaluation-full"
    metrics: dict[str, Any] = {UNTRAINED: measure_encoder(root, BACKBONE, results / UNTRAINED, progress).figures()}
    joined: dict[str, RetrievalValues] = {}
    runs = {
        (name, seed): compared_run(root, name, seed, full=True, overrides=overrides)
        for name in RECIPES
        for seed in SEEDS
    }
    train_side_by_side(list(runs.values()), progress)
    for name in RECIPES:
        measured = [
            measure_encoder(root, runs[name, seed].encoder, results / f"{name}-{seed}", progress) for seed in SEEDS
        ]
        joined[name] = RetrievalValues.joined(measured)
        metrics[name] = joined[name].figures() | {"seeds": [run.figures() for run in measured]}
    metrics["gain"] = {name: joined[name].over(joined[BASELINE], EXCL) for name in RECIPES if name != BASELINE}
    return metrics


def compared_run(
    root: Path, name: str, seed: int = 0, *, full: bool = False, overrides: Sequence[str] = ()
) -> TrainingRun:
    """The run that trains one of the compared encoders.

    Args:
        root: the demo's folder.
        name: one of `RECIPES`.
        seed: of the run.
        full: end to end; otherwise a head on cached features.
        overrides: see `compare_encoders`.
    """
    suffix = "-full" if full else ""
    recipe = load_recipe(
        recipe_path(f"{RECIPES[name]}{suffix.replace('-', '_')}"),
        [*demo_settings(root), f"run.seed={seed}", *overrides],
    )
    return TrainingRun(recipe, root / f"training{suffix}" / name / f"seed-{seed}")


def measure_encoder(root: Path, encoder: str, out: Path, progress: Progress) -> RetrievalValues:
    """What an encoder does with the held-out images of the demo's world.

    Args:
        root: the demo's folder; features are kept in its cache.
        encoder: see `openmofi.encoders.open_encoder`.
        out: gets the result.
        progress: receives the images.
    """
    evaluated = evaluate(PROTOCOL.name, open_encoder(encoder), root / "world", root / "cache", progress)
    assert evaluated.items is not None, "this protocol gives its items"
    write_result(out, evaluated.result, evaluated.items)
    return RetrievalValues.of(evaluated.items)


def full_section(metrics: Mapping[str, Any]) -> ReportSection:
    """The encoders trained end to end: the table, its bars, and the gain with its interval."""
    return ReportSection(
        "What the entity labels bring: trained end to end",
        Markup("{}<p>{}</p>{}").format(
            _table(metrics).html(),
            gain_sentence(metrics),
            bars({shown: metrics[row]["map_excl_query"] for row, shown in ROWS.items() if row in metrics}),
        ),
        "Retrieval of other artists' images of the same entity, and naming of entities, all of them held out: no "
        "encoder saw an image of them. Same first weights, pages and number of images, three seeds. Intervals are by "
        "Student's t over entities and seeds. The query-included figure follows GPR1200.",
    )


def _table(retrieval: Mapping[str, Any]) -> Table:
    return encoder_table({shown: retrieval[name] for name, shown in ROWS.items() if name in retrieval})


def gain_sentence(retrieval: Mapping[str, Any]) -> str:
    """Multi-task against the alt-text baseline, beside the goal."""
    gain = retrieval["gain"][BEST]
    low, high = gain["gain_interval"]
    return (
        f"Multi-task over {ROWS[BASELINE]}: {gain['gain']:+.1%} mAP, query excluded ({low:+.1%} to {high:+.1%}; "
        f"goal {GAIN_GOAL:+.0%}: {verdict(gain['gain'] >= GAIN_GOAL)})."
    )


def print_comparison(out: Path, metrics: Mapping[str, Any]) -> None:
    """Print the demo's figures beside their goals, and the encoders."""
    values = {name: metrics["labels"][name.removeprefix("labels.")] for name in GOALS}
    Table(
        ("figure", "value", "goal", ""),
        [
            (name, number(values[name]), f"≥ {goal:.2f}", verdict((values[name] or 0.0) >= goal))
            for name, goal in GOALS.items()
        ],
        numbers=(1,),
    ).print("Labels")
    print_paper(metrics["paper"])
    if "retrieval_full" in metrics:
        _table(metrics["retrieval_full"]).print("Retrieval and naming of held-out entities: trained end to end")
        print(gain_sentence(metrics["retrieval_full"]))
    print_end(out, metrics)
    print(f"search, review and look at it: {page_command(out)}")


def main(
    out: Out = Path("runs/demo"),
    full: Annotated[bool, typer.Option("--full", help="Also train encoders end to end, three seeds each.")] = False,
    settings: Set = None,
    engine: EngineOption = "auto",
    as_json: Json = False,
) -> None:
    """What the entity labels bring to an encoder; run it on the folder of a finished `openmofi sample demo`."""
    run_study(
        lambda progress: run_comparison(
            out, progress, engine=engine_named(engine), full=full, overrides=settings or ()
        ),
        as_json,
        lambda metrics: print_comparison(out, metrics),
    )


if __name__ == "__main__":
    run_command(main)
