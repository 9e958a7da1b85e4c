"""The paper in miniature: what the entity labels bring to an encoder, measured on entities that none has seen.

Same first weights, same pages, same number of images seen; only the objective and the texts differ. Every encoder then
looks for the other artists' images of the same held-out entity, and names held-out entities from their texts: the
protocol `sample-retrieval`, whose results stand in `evaluation/` for `openmofi eval compare`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.encoders import BACKBONE, open_encoder
from openmofi.engine import Progress
from openmofi.evaluation import PairedDifference, bootstrap_interval, paired_bootstrap
from openmofi.evaluation.protocols.ranked import EXCL, INCL
from openmofi.evaluation.protocols.sample_retrieval import ZERO_SHOT
from openmofi.evaluation.result import GROUP, write_result
from openmofi.evaluation.run import evaluate
from openmofi.training.recipe.rules import load_recipe
from studies import recipe_path
from studies.side_by_side import TrainingRun, train_side_by_side

UNTRAINED = "untrained"
BASELINE, BEST = "alt_text", "multi_task"
RECIPES: Mapping[str, str] = {
    "alt_text": "sample_contrastive_alt_text", "entities": "sample_contrastive_entities",
    "supervised": "sample_supervised", "multi_task": "sample_multi_task",
}
FULL_SEEDS = (0, 1, 2)
PROTOCOL = "sample-retrieval"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What an encoder does with each held-out image; means over seeds where several runs are joined.

    Attributes:
        values: metric → (images,): average precisions (NaN without positives); 1 where zero-shot classification is
            right, absent without a text side.
        entity: (images,) its entity.
    """

    values: Mapping[str, Floats]
    entity: NDArray[np.str_]

    @classmethod
    def of(cls, items: pa.Table) -> Measured:
        """From the items of a result of the protocol."""
        present = [name for name in (INCL, EXCL, ZERO_SHOT) if name in items.column_names]
        values = {name: items[name].to_numpy().astype(np.float64) for name in present}
        return cls(values, np.array(items[GROUP].to_pylist()))

    @classmethod
    def mean(cls, runs: Sequence[Measured]) -> Measured:
        """Join the runs of several seeds."""
        return cls({name: np.mean([run.values[name] for run in runs], axis=0) for name in runs[0].values},
                   runs[0].entity)

    def figures(self) -> dict[str, Any]:
        """As in `metrics.json`; intervals are 95 %, bootstrap over entities."""
        found: dict[str, Any] = {}
        for name in (INCL, EXCL, ZERO_SHOT):
            values = self.values.get(name)
            found[name] = None if values is None else float(np.nanmean(values))
            found[f"{name}_interval"] = None if values is None else list(bootstrap_interval(values, self.entity))
        return found


def compare_encoders(root: Path, progress: Progress, *, full: bool = False, seeds: Sequence[int] = (0,),
                     overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train the four encoders of the table on `root/dataset`, and measure them and the untrained one.

    What is trained is kept, so that a demo that was stopped goes on.

    Args:
        root: the demo's folder; gets `training/` and `evaluation/`, or `training-full/` and `evaluation-full/`.
        progress: told of each run.
        full: train end to end; otherwise heads on cached features.
        seeds: one run each.
        overrides: settings of all recipes, as `openmofi train --set` takes them.

    Returns:
        Name → figures (`map_incl_query`, `map_excl_query`, `zero_shot` and their intervals), `seeds` (the figures of
        each run) and `gain` over the alt-text baseline.
    """
    suffix = "-full" if full else ""
    results = root / f"evaluation{suffix}"
    found: dict[str, Any] = {UNTRAINED: measure_encoder(root, BACKBONE, results / UNTRAINED, progress).figures()}
    joined: dict[str, Measured] = {}
    runs = {(name, seed): compared_run(root, name, seed, full=full, overrides=overrides)
            for name in RECIPES for seed in seeds}
    train_side_by_side(list(runs.values()), progress)
    for name in RECIPES:
        measured = [measure_encoder(root, runs[name, seed].encoder, results / f"{name}-{seed}", progress)
                    for seed in seeds]
        joined[name] = Measured.mean(measured)
        found[name] = joined[name].figures() | {"seeds": [one.figures() for one in measured]}
    found["gain"] = {name: _gain(joined[name], joined[BASELINE]).as_dict() for name in RECIPES if name != BASELINE}
    return found


def compared_run(root: Path, name: str, seed: int = 0, *, full: bool = False,
                 overrides: Sequence[str] = ()) -> TrainingRun:
    """The run that trains one of the compared encoders.

    Args:
        root: the demo's folder.
        name: one of `RECIPES`.
        seed, full, overrides: see `compare_encoders`.
    """
    suffix = "-full" if full else ""
    recipe = load_recipe(recipe_path(f"{RECIPES[name]}{suffix.replace('-', '_')}"),
                         [*demo_places(root), f"run.seed={seed}", *overrides])
    return TrainingRun(recipe, root / f"training{suffix}" / name / f"seed-{seed}")


def measure_encoder(root: Path, encoder: str, out: Path, progress: Progress) -> Measured:
    """What an encoder does with the held-out images of the demo's world.

    Args:
        root: the demo's folder; features are kept in its cache.
        encoder: see `openmofi.encoders.open_encoder`.
        out: gets the result.
        progress: told of the images.
    """
    evaluated = evaluate(PROTOCOL, open_encoder(encoder), root / "world", root / "cache", progress)
    assert evaluated.items is not None, "this protocol gives its items"
    write_result(out, evaluated.result, evaluated.items)
    return Measured.of(evaluated.items)


def demo_places(root: Path) -> list[str]:
    """The settings of a recipe that say where the demo's data are."""
    places = {"data.dataset": root / "dataset", "data.kb": root / "kb", "data.cache": root / "cache"}
    return [f"{key}={json.dumps(str(value))}" for key, value in places.items()]


def _gain(ours: Measured, theirs: Measured) -> PairedDifference:
    return paired_bootstrap(ours.values[EXCL], theirs.values[EXCL], ours.entity)
