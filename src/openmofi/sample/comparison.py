"""The paper in miniature: what the entity labels bring to an encoder, measured on entities that none has seen.

Same first weights, same pages, same number of images seen; only the objective and the texts differ. Every encoder then
looks for the other artists' pictures of the same held-out entity, and names held-out entities from their texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import BACKBONE, Encoder, open_encoder
from openmofi.encoders.arrays import normalised
from openmofi.engine import Progress
from openmofi.evaluation import (
    EmbeddedImages,
    PairedDifference,
    bootstrap_interval,
    class_embeddings,
    embed_images,
    evaluate_retrieval,
    evaluate_zero_shot,
    paired_bootstrap,
    true_entities,
)
from openmofi.knowledge import KnowledgeBase
from openmofi.sample.watching import ProgressWatcher
from openmofi.storage import expand_shards
from openmofi.training.recipe import load_recipe
from openmofi.training.run import ENCODER, train

UNTRAINED = "untrained"
BASELINE, BEST = "alt_text", "multi_task"
RECIPES: Mapping[str, str] = {
    "alt_text": "sample_contrastive_alt_text", "entities": "sample_contrastive_entities",
    "supervised": "sample_supervised", "multi_task": "sample_multi_task",
}
FULL_SEEDS = (0, 1, 2)
_TEXTS = ("{name}", "{name}: {description}")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Heldout:
    """The pictures of the entities that no encoder was trained on.

    Attributes:
        shards: the world's retrieval shards, as `expand_shards` takes them.
        truth: the world's truth.
        kb: names and descriptions.
        cache: keeps backbone features.
    """

    shards: Sequence[str]
    truth: Path
    kb: KnowledgeBase
    cache: Path

    def measure(self, encoder: Encoder, progress: Progress, *, texts: bool, backbone: bool = False) -> Measured:
        """Retrieval and, with `texts`, zero-shot accuracy of an encoder."""
        images = embed_images(expand_shards(list(self.shards)), encoder, self.cache, progress, backbone=backbone)
        entities = true_entities(self.truth, images)
        found = evaluate_retrieval(images.embeddings, entities)
        correct = self._zero_shot(encoder, images, entities) if texts else None
        return Measured(found.ap_incl_query, found.ap_excl_query, correct, found.class_of)

    def _zero_shot(self, encoder: Encoder, images: EmbeddedImages, entities: Sequence[str]) -> Floats:
        distinct = sorted(set(entities))
        known = [self.kb.entity(self.kb.row(entity)) for entity in distinct]
        # The mean of both texts: the encoders were trained on texts of one kind or the other.
        sides = [class_embeddings([text.format(name=one.name, description=one.description) for one in known], ["{}"],
                                  encoder.embed_texts) for text in _TEXTS]
        classes = normalised(np.mean(sides, axis=0, dtype=np.float32))
        labels = np.searchsorted(distinct, entities)
        return evaluate_zero_shot(images.embeddings, labels, classes).correct


@dataclass(frozen=True)
class Measured:
    """What an encoder does with each held-out picture; means over seeds where several runs are joined.

    Attributes:
        incl, excl: (pictures,) average precision with and without the query in the index; NaN without positives.
        correct: (pictures,) 1 where zero-shot classification is right; `None` without a text side.
        class_of: (pictures,) number of the entity.
    """

    incl: Floats
    excl: Floats
    correct: Floats | None
    class_of: NDArray[np.int64]

    @classmethod
    def mean(cls, runs: Sequence[Measured]) -> Measured:
        """Join the runs of several seeds."""
        corrects = [run.correct for run in runs if run.correct is not None]
        return cls(np.mean([run.incl for run in runs], axis=0), np.mean([run.excl for run in runs], axis=0),
                   np.mean(corrects, axis=0) if corrects else None, runs[0].class_of)

    def figures(self) -> dict[str, Any]:
        """As in `metrics.json`; intervals are 95 %, bootstrap over entities."""
        found: dict[str, Any] = {}
        for name, values in (("map_incl_query", self.incl), ("map_excl_query", self.excl), ("zero_shot", self.correct)):
            found[name] = None if values is None else float(np.nanmean(values))
            found[f"{name}_interval"] = None if values is None else list(bootstrap_interval(values, self.class_of))
        return found


def compare_encoders(root: Path, kb: KnowledgeBase, progress: Progress, *, full: bool = False,
                     seeds: Sequence[int] = (0,), overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train the four encoders of the table on `root/dataset`, and measure them and the untrained one.

    What is trained and measured is kept, so that a demo that was stopped goes on.

    Args:
        root: the demo's folder.
        kb: its knowledge base.
        progress: told of each run.
        full: train end to end; otherwise heads on cached features.
        seeds: one run each.
        overrides: settings of all recipes, as `openmofi train --set` takes them.

    Returns:
        Name → figures (`map_incl_query`, `map_excl_query`, `zero_shot` and their intervals), `seeds` (the figures of
        each run) and `gain` of multi-task over the alt-text baseline.
    """
    heldout = Heldout([str(root / "world/retrieval")], root / "world/truth.parquet", kb, root / "cache")
    untrained = heldout.measure(open_encoder(BACKBONE), progress, texts=False, backbone=True)
    found: dict[str, Any] = {UNTRAINED: untrained.figures()}
    joined: dict[str, Measured] = {}
    for name, recipe in RECIPES.items():
        runs = []
        for seed in seeds:
            out = root / ("training-full" if full else "training") / name / f"seed-{seed}"
            settings = [*_places(root), f"run.seed={seed}", *overrides]
            train(load_recipe(f"{recipe}_full" if full else recipe, settings), out, resume=True,
                  watcher=ProgressWatcher(progress, f"{name} {seed}"), progress=progress)
            runs.append(heldout.measure(open_encoder(f"run:{out / ENCODER}"), progress, texts=name != "supervised"))
        joined[name] = Measured.mean(runs)
        found[name] = joined[name].figures() | {"seeds": [run.figures() for run in runs]}
    found["gain"] = {name: _gain(joined[name], joined[BASELINE]).as_dict() for name in RECIPES if name != BASELINE}
    return found


def _places(root: Path) -> list[str]:
    places = {"data.dataset": root / "dataset", "data.kb": root / "kb", "data.cache": root / "cache"}
    return [f"{key}={json.dumps(str(value))}" for key, value in places.items()]


def _gain(ours: Measured, theirs: Measured) -> PairedDifference:
    return paired_bootstrap(ours.excl, theirs.excl, ours.class_of)
